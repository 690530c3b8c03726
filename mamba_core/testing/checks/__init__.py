"""The conformance checks, by what they look at."""

from __future__ import annotations

from mamba_core.testing.checks import data, model, persistence, record, training
from mamba_core.testing.subject import Check

CHECKS: tuple[Check, ...] = (
    record.spec_valid,
    record.import_is_light,
    record.refs_resolve,
    record.card_has_sections,
    record.config_roundtrips_json,
    record.config_rejects_unknown_field,
    record.presets_build,
    record.tiny_is_small,
    model.forward_matches_declared_outputs,
    model.eval_is_deterministic,
    model.batch_items_are_independent,
    model.padding_does_not_leak,
    model.scan_orders_are_permutations,
    model.mixers_can_be_exchanged,
    model.golden_output_unchanged,
    training.loss_is_finite,
    training.gradients_reach_every_parameter,
    training.metrics_accept_outputs,
    training.one_batch_overfits,
    persistence.save_load_is_bit_exact,
    persistence.loads_in_eval_mode,
    persistence.moves_device_and_dtype,
    persistence.pickles_for_workers,
    data.data_module_smoke,
)
"""Every check, in the order of a report: what fails first explains what fails later."""

MANDATORY = tuple(item.name for item in CHECKS if item.mandatory)
"""Names of the checks without which a report is not ``ok``."""
