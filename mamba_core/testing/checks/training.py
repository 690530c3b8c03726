"""Checks of loss, gradients and metrics."""

from __future__ import annotations

import torch

from mamba_core import registry
from mamba_core.testing.subject import Skip, TaskUnderTest, check

NOISE = 0.02
"""Added to the weights before gradients are looked at: a gate that starts at zero hides what
lies behind it, which is no fault."""
STEPS = 60
LEARNING_RATE = 2e-3
IMPROVEMENT = 0.1
"""Part of the first loss that must be gone after :data:`STEPS` steps on one batch."""


@check()
def loss_is_finite(subject: TaskUnderTest) -> None:
    """The loss of a fresh model is one finite number with a gradient.

    What starts as NaN never recovers. Nothing to hold for a task that is not trained.
    """
    if subject.spec.loss is None:
        return
    batch = subject.batch()
    model = subject.model()
    loss = subject.loss(subject.forward(model, batch), batch)
    assert loss.dim() == 0, f"the loss has shape {tuple(loss.shape)}, not a scalar"
    assert torch.isfinite(loss), f"the loss is {loss.item()}"
    assert loss.requires_grad, "the loss does not depend on the model"


@check()
def gradients_reach_every_parameter(subject: TaskUnderTest) -> None:
    """Every parameter that may be trained gets a gradient.

    An unreached one is dead weight and stops distributed training. Nothing to hold for a task
    that is not trained.
    """
    if subject.spec.loss is None:
        return
    model, batch = subject.model().train(), subject.batch()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.add_(NOISE * noise)
    subject.loss(subject.forward(model, batch), batch).backward()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    unreached = [name for name, p in trained if p.grad is None or not p.grad.any()]
    assert not unreached, f"no gradient reaches {', '.join(unreached)}"
    broken = [name for name, p in trained if p.grad is not None and not p.grad.isfinite().all()]
    assert not broken, f"gradients are not finite in {', '.join(broken)}"


@check(mandatory=False)
def metrics_accept_outputs(subject: TaskUnderTest) -> None:
    """The metrics take what the model returns, and bear the names the record says.

    Otherwise the first evaluation fails after hours of training.
    """
    if subject.spec.metrics is None:
        raise Skip("the task has no metrics")
    try:
        metrics = registry.resolve(subject.spec.metrics)()
    except ImportError as error:
        raise Skip(f"metrics need a library that is missing: {error}") from error
    assert tuple(metrics) == tuple(subject.spec.metric_names), (
        f"metrics are named {tuple(metrics)}, metric_names says {subject.spec.metric_names}"
    )
    batch = subject.batch()
    with torch.no_grad():
        outputs = subject.forward(subject.model(), batch)
    for name, metric in metrics.items():
        metric.to(subject.device).update(outputs, batch)
        value = torch.as_tensor(metric.compute())
        assert value.numel() == 1, f"metric '{name}' gives {tuple(value.shape)}, not one number"
        assert torch.isfinite(value), f"metric '{name}' gives {value.item()}"


@check(mandatory=False, slow=True)
def one_batch_overfits(subject: TaskUnderTest) -> None:
    """A few steps on one batch bring the loss down.

    The cheapest proof that model, loss and example fit together. Skipped for a task without
    a loss.
    """
    model, batch = subject.model().train(), subject.batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = subject.loss(subject.forward(model, batch), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    goal = losses[0] - IMPROVEMENT * abs(losses[0])
    assert min(losses[-5:]) < goal, (
        f"the loss went from {losses[0]:.4g} to {losses[-1]:.4g} in {STEPS} steps, "
        f"expected below {goal:.4g}"
    )
