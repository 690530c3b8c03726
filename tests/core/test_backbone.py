"""Stacks by pattern: what is built, that it streams, checkpoints, connects and adapts."""

from __future__ import annotations

import math

import pytest
import torch

from mamba_core.blocks import (
    Backbone,
    BackboneConfig,
    Block,
    BlockConfig,
    DropPath,
    GatedMLP,
    MLPConfig,
    parse_pattern,
)
from mamba_core.mixers import Attention, Mamba1, Mamba2, MixerChoice, MultiScan, MultiScanConfig

SMALL = MixerChoice("mamba2", headdim=8, d_state=4)


def build(**fields):
    torch.manual_seed(0)
    return Backbone(BackboneConfig(**({"d_model": 16, "mixer": SMALL} | fields)))


def test_letters_become_layers():
    backbone = build(pattern="M-[M*]-*", mixer="mamba1")
    kinds = [[type(layer) for layer in block.layers] for block in backbone.blocks]
    assert kinds == [[Mamba1], [GatedMLP], [Mamba1, Attention], [GatedMLP], [Attention]]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "no layer"),
        ("MG", "Gated DeltaNet, which does not exist yet"),
        ("M|M", "pipeline cut"),
        ("MxM", r"character 1: 'x' is not a layer; valid: M \(mixer\)"),
        ("[M", "never closed"),
        ("[M]", "two or more"),
        ("M]", "']' is not a layer"),
        ("[[M*]]", "'\\[' is not a layer"),
    ],
)
def test_bad_patterns_say_where_and_what_is_valid(pattern, message):
    with pytest.raises(ValueError, match=message):
        parse_pattern(pattern)


def test_outputs_into_the_residual_start_scaled_by_depth():
    torch.manual_seed(0)
    alone = Mamba2(16, headdim=8, d_state=4)
    backbone = build(pattern="MMMM")
    bound = alone.out_proj.weight.abs().max()
    assert backbone.blocks[0].layers[0].out_proj.weight.abs().max() <= bound / math.sqrt(4) * 1.01


def test_dt_bias_survives_the_backbones_initialisation():
    backbone = build(pattern="M", mixer="mamba1")
    dt = torch.nn.functional.softplus(backbone.blocks[0].layers[0].dt_proj.bias)
    assert dt.max() <= 0.1001


@pytest.mark.parametrize("fields", [{}, {"connection": "dense"}, {"mixer": "mamba1"}])
def test_a_causal_stack_streams(fields):
    backbone = build(pattern="M-[M*]M", **fields).double().eval()
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    whole = backbone(x)
    y, state = backbone.prefill(x[:, :4], backbone.init_state(2))
    steps = [y]
    for token in range(4, 9):
        y, state = backbone.step(x[:, token], state)
        steps.append(y[:, None])
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("fields", [{}, {"connection": "dense", "dense_depth": 2}])
def test_checkpointing_changes_no_gradient(fields):
    gradients = []
    for on in (False, True):
        backbone = build(pattern="MM-M", **fields)
        backbone.set_gradient_checkpointing(on)
        torch.manual_seed(1)
        backbone(torch.randn(2, 6, 16)).square().sum().backward()
        gradients.append([p.grad.clone() for p in backbone.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_dense_connections_reach_back_and_train():
    backbone = build(pattern="M-MM", connection="dense", dense_depth=2)
    depths = [len(c.gates) for c in backbone.connections if hasattr(c, "gates")]
    assert depths == [0, 1, 2]
    backbone(torch.randn(1, 5, 16)).square().sum().backward()
    assert all(p.grad is not None for p in backbone.connections.parameters())
    with pytest.raises(ValueError, match="connection='dense'"):
        build(pattern="*-", connection="dense")


def test_several_paths_by_name_packed_and_by_table():
    backbone = build(pattern="MM", scan=MultiScanConfig()).double()
    assert isinstance(backbone.blocks[0].layers[0], MultiScan)
    x = torch.randn(1, 7, 16, dtype=torch.float64)
    table = torch.stack([torch.arange(7), torch.arange(7).flip(0)])
    torch.testing.assert_close(backbone(x), backbone(x, order=table))
    cu = torch.tensor([0, 3, 7], dtype=torch.int32)
    separate = torch.cat([backbone(x[:, :3]), backbone(x[:, 3:])], 1)
    torch.testing.assert_close(backbone(x, cu_seqlens=cu), separate)
    with pytest.raises(TypeError, match="cannot stream"):
        backbone.init_state(1)


def test_data_orders_read_their_context():
    from mamba_core import registry

    class ByScore:
        inputs = ("score",)

        def __call__(self, context):
            return context["score"].argsort(-1)

    with registry.isolated():
        registry.register_scan_order("by-score", ByScore(), dims=1)
        backbone = build(pattern="M", scan=MultiScanConfig(scan_order="by-score"))
        x, score = torch.randn(2, 5, 16), torch.randn(2, 5)
        expected = backbone(x, order=score.argsort(-1)[:, None])
        torch.testing.assert_close(backbone(x, context={"score": score}), expected)
        with pytest.raises(ValueError, match="'score'"):
            backbone(x)


def test_residual_stays_float32_over_bf16_weights():
    backbone = build(block=BlockConfig(residual_in_fp32=True)).to(torch.bfloat16)
    block = backbone.blocks[0]
    y = block(torch.randn(1, 4, 16, dtype=torch.bfloat16))
    assert y.dtype == torch.float32
    assert backbone(torch.randn(1, 4, 16, dtype=torch.bfloat16)).isfinite().all()


def test_drop_path_drops_items_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    y = drop(torch.ones(4000, 3))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert abs(y.mean() - 1) < 0.05
    assert torch.equal(drop.eval()(torch.ones(2, 3)), torch.ones(2, 3))


def test_layer_scale_and_layer_norm():
    config = BlockConfig(norm="layer", layer_scale=1e-3)
    block = Block(16, [GatedMLP(16, MLPConfig(d_intermediate=24))], config)
    assert isinstance(block.norm, torch.nn.LayerNorm)
    x = torch.randn(1, 2, 16)
    assert (block(x) - x).abs().max() < 1e-2


def test_builds_on_the_meta_device():
    with torch.device("meta"):
        for mixer in ("mamba1", {"name": "mamba1", "A_init": "s4d-inv"}, "mamba2"):
            backbone = build(d_model=64, pattern="M-*", mixer=mixer)
    assert next(backbone.parameters()).is_meta


def test_lora_on_the_projections_trains():
    peft = pytest.importorskip("peft")
    for mixer in ("mamba1", SMALL):
        targets = ["in_proj", "out_proj"] + (["x_proj", "dt_proj"] if mixer == "mamba1" else [])
        model = peft.get_peft_model(
            build(pattern="M-", mixer=mixer),
            peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False),
        )
        torch.manual_seed(0)
        x, target = torch.randn(2, 6, 16), torch.randn(2, 6, 16)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            loss = (model(x) - target).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        adapters = {n: p for n, p in model.named_parameters() if "lora_" in n}
        assert len(adapters) == 2 * len(targets)
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapters.values())
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("mixer", ["mamba1", SMALL])
def test_hooks_on_every_projection_fire(mixer):
    backbone = build(pattern="M*", mixer=mixer)
    fired = set()
    linears = {n: m for n, m in backbone.named_modules() if isinstance(m, torch.nn.Linear)}
    for name, module in linears.items():
        module.register_forward_hook(lambda *_, name=name: fired.add(name))
    backbone(torch.randn(1, 3, 16))
    assert fired == set(linears)


def test_int8_weight_only_runs():
    quantization = pytest.importorskip("torchao.quantization")
    backbone = build(d_model=64, pattern="M-").eval()
    x = torch.randn(1, 6, 64)
    with torch.no_grad():
        before = backbone(x)
        quantization.quantize_(backbone, quantization.Int8WeightOnlyConfig())
        after = backbone(x)
    assert not torch.equal(before, after)
    assert (before - after).norm() / before.norm() < 0.05


def test_a_stack_with_paths_compiles_without_a_graph_break():
    config = BackboneConfig(
        d_model=16,
        pattern="M",
        mixer={"name": "mamba2", "d_state": 8, "headdim": 8},
        scan=MultiScanConfig(scan_order="bidirectional"),
    )
    stack, x = Backbone(config), torch.randn(2, 29, 16)
    compiled = torch.compile(stack, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), stack(x))
