"""Programs that measure: models beside their peers and baselines, by one protocol each."""
