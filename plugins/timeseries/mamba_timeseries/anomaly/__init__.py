"""``ts-anomaly``: steps that the steps around them do not explain."""
