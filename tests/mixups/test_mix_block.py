"""Mix Block: every option against loops over positions, initialisation, precision and learning."""

import itertools
import math

import pytest
import torch

from ssl_ext.mixups import MixBlock, mask_loss

OPTIONS = [
    dict(zip(("lam_encoding", "content", "attention", "upsampling", "sigmoid_first"), values, strict=True))
    for values in itertools.product(
        ("adaptive", "concat", "none"),
        ("nonlinear", "linear"),
        ("self", "cross"),
        ("nearest", "bilinear"),
        (True, False),
    )
]
AUTOMIX = dict(lam_encoding="concat", content="linear", attention="cross")
C, H, W = 4, 2, 3


def described(options):
    return "-".join(map(str, options.values()))


def maps(count=2, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, C, H, W, dtype=dtype, generator=generator)


def trained_block(**options):
    """A block in evaluation mode with weights far from their initial values."""
    torch.manual_seed(1)
    block = MixBlock(C, **options).double().eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
        for module in block.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.abs_().add_(0.5)  # most hidden units are on
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        if block.gamma is not None:
            block.gamma.fill_(0.6)
    return block


def convolve(conv, vector):
    """Apply a 1x1 convolution at one position."""
    out = []
    for row in range(conv.out_channels):
        value = 0.0 if conv.bias is None else conv.bias[row].item()
        for column in range(conv.in_channels):
            value += conv.weight[row, column, 0, 0].item() * vector[column]
        out.append(value)
    return out


def content_at(content, vector):
    if isinstance(content, torch.nn.Conv2d):
        return convolve(content, vector)[0]
    first, norm, _, _, last = content
    hidden = []
    for n, value in enumerate(convolve(first, vector)):
        scaled = (value - norm.running_mean[n].item()) / math.sqrt(norm.running_var[n].item() + norm.eps)
        hidden.append(max(0.0, scaled * norm.weight[n].item() + norm.bias[n].item()))
    return convolve(last, hidden)[0]


def expected_grid(block, z_i, z_j, lam, options):
    """Logits (H, W) of one pair by loops over channels and positions (Eq. 5)."""

    def encoded(z, share):
        positions = []
        for y, x in itertools.product(range(H), range(W)):
            vector = [z[c, y, x].item() for c in range(C)]
            if options["lam_encoding"] == "adaptive":
                vector = [value * (1 + 0.6 * share) for value in vector]
            if options["lam_encoding"] == "concat":
                vector.append(share)
            positions.append(vector)
        return positions

    first, second = encoded(z_i, lam), encoded(z_j, 1 - lam)
    content = [content_at(block.content, vector) for vector in first]
    if options["attention"] == "self":
        queries = keys = [convolve(block.embedding, a + b) for a, b in zip(first, second, strict=True)]
    else:
        queries = [convolve(block.embedding, vector) for vector in first]
        keys = [convolve(block.embedding, vector) for vector in second]
    logits = []
    for query in queries:
        scores = [sum(q * k for q, k in zip(query, key, strict=True)) / math.sqrt(len(query)) for key in keys]
        total = sum(map(math.exp, scores))
        shares = [math.exp(score) / total for score in scores]
        logits.append(sum(p * value for p, value in zip(shares, content, strict=True)))
    return torch.tensor(logits, dtype=torch.float64).view(1, 1, H, W)


@pytest.mark.parametrize("options", OPTIONS, ids=described)
def test_equals_loops_over_positions(options):
    block, (z_i, z_j) = trained_block(**options), maps()
    lam, size = torch.tensor([0.3, 0.8], dtype=torch.float64), (5, 7)
    found = block(z_i, z_j, lam, size=size)
    align = dict(align_corners=False) if options["upsampling"] == "bilinear" else {}
    for n in range(2):
        grid = expected_grid(block, z_i[n], z_j[n], lam[n].item(), options)
        grid = grid.sigmoid() if options["sigmoid_first"] else grid
        large = torch.nn.functional.interpolate(grid, size=size, mode=options["upsampling"], **align)
        large = large if options["sigmoid_first"] else large.sigmoid()
        torch.testing.assert_close(found[n : n + 1], large, rtol=0, atol=1e-10)
    assert found.std() > 1e-4


def test_order_of_sigmoid_and_upsampling_matters_for_bilinear_masks_only():
    z_i, z_j = maps()
    for upsampling, differ in (("nearest", False), ("bilinear", True)):
        masks = [
            trained_block(upsampling=upsampling, sigmoid_first=first)(z_i, z_j, 0.4, size=(8, 8))
            for first in (True, False)
        ]
        assert torch.allclose(*masks) != differ


@pytest.mark.parametrize("options", OPTIONS[::2], ids=described)
def test_masks_start_near_one_half_whatever_the_size(options):
    for count, size, channels in ((2, (7, 5), 256), (3, (32, 32), 3)):
        torch.manual_seed(0)
        block = MixBlock(channels, **options)
        z_i, z_j = torch.rand(2, count, channels, 3, 2)
        mask = block(z_i, z_j, 0.9, size=size)
        assert mask.shape == (count, 1, *size)
        assert (mask - 0.5).abs().max() < 0.1


def test_a_scalar_is_the_same_share_for_all_and_rows_do_not_mix():
    block, (z_i, z_j) = trained_block(), maps(4)
    whole = block(z_i, z_j, 0.3, size=(4, 6))
    torch.testing.assert_close(block(z_i, z_j, torch.full((4,), 0.3).double(), size=(4, 6)), whole)
    torch.testing.assert_close(block(z_i[2:3], z_j[2:3], 0.3, size=(4, 6)), whole[2:3])


@pytest.mark.parametrize("options", [{}, AUTOMIX], ids=["MixBlock+", "AutoMix"])
def test_finite_differences(options):
    block = trained_block(upsampling="bilinear", **options)
    z_i, z_j = (z.requires_grad_() for z in maps().clone())
    lam = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)
    names, weights = zip(*block.named_parameters(), strict=True)

    def masks(z_i, z_j, lam, *weights):
        arguments = (z_i, z_j, lam, (4, 5))
        return torch.func.functional_call(block, dict(zip(names, weights, strict=True)), arguments)

    copies = [weight.detach().clone().requires_grad_() for weight in weights]
    # The in-place projection of γ must not conflict with autograd after the first step.
    if block.gamma is not None:
        copies[names.index("gamma")] = torch.tensor(0.6, dtype=torch.float64)
    assert torch.autograd.gradcheck(masks, (z_i, z_j, lam, *copies))


def test_gamma_starts_at_zero_learns_and_stays_in_range():
    block, (z_i, z_j) = MixBlock(C).double(), maps()
    with torch.no_grad():
        block.content[-1].weight.fill_(1.0)
        block.embedding.weight.normal_()
    assert block.gamma == 0 and MixBlock(8, gamma_init=1).gamma == 1
    for target, bound in ((1.0, 1.0), (-1.0, 0.0)):
        optimizer = torch.optim.SGD([block.gamma], lr=0.5)
        for _ in range(5):
            block(z_i, z_j, 0.7, size=(4, 4))
            optimizer.zero_grad()
            (-target * block.gamma).backward()
            optimizer.step()
        mask = block.eval()(z_i, z_j, 0.7, size=(4, 4))
        assert block.gamma == bound
        (gradient,) = torch.autograd.grad(mask.square().sum(), block.gamma)
        assert gradient != 0  # at either end


def test_projection_between_two_passes_leaves_the_first_graph_whole():
    block, (z_i, z_j) = MixBlock(C).double().eval(), maps()
    first, second = (block(z_i, z_j, lam, size=(4, 4)) for lam in (0.2, 0.9))
    (first.sum() + second.sum()).backward()
    assert block.gamma.grad is not None


def test_float32_whatever_autocast():
    block, (z_i, z_j) = trained_block().float(), maps(dtype=torch.float32)
    exact = block(z_i, z_j, 0.4, size=(6, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = block(z_i.bfloat16(), z_j.bfloat16(), 0.4, size=(6, 6))
        same = block(z_i, z_j, 0.4, size=(6, 6))
    assert half.dtype == same.dtype == torch.float32
    assert torch.equal(same, exact)
    rounded = block(z_i.bfloat16().float(), z_j.bfloat16().float(), 0.4, size=(6, 6))
    assert torch.equal(half, rounded)


@pytest.mark.parametrize(
    ("options", "channels", "steps", "lr"),
    [({}, 64, 500, 0.01), (AUTOMIX, 16, 300, 0.05)],
    ids=["MixBlock+", "AutoMix"],
)
def test_learns_from_the_mask_loss_alone_to_follow_lam(options, channels, steps, lr):
    """One block for all λ; if mask and λ referred to different samples, means would approach 1 − λ."""
    torch.manual_seed(0)
    block = MixBlock(channels, **options)
    features = (0.7 * torch.randn(256, channels, 1, 1) + torch.randn(256, channels, 2, 2)).relu()
    optimizer = torch.optim.Adam(block.parameters(), lr=lr)
    for _ in range(steps):
        z, partner = features[torch.randint(256, (2, 48))]
        lam = torch.rand(48)
        loss = mask_loss(block(z, partner, lam, size=(2, 2)), lam, variance_weight=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    lams = torch.arange(1, 10) / 10
    with torch.no_grad():
        mask = block.eval()(features[:252], features[:252].flip(0), lams.repeat(28), size=(6, 6))
    means = mask.mean((1, 2, 3)).view(28, 9).mean(0)
    assert (means - lams).abs().max() < 0.1, means


@pytest.mark.parametrize(
    ("option", "value"),
    [("lam_encoding", "add"), ("content", "deep"), ("attention", "local"), ("upsampling", "bicubic")],
)
def test_an_unknown_option_is_named(option, value):
    with pytest.raises(ValueError, match=rf"mix_block.{option} is '{value}'; allowed are"):
        MixBlock(8, **{option: value})


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match="in_channels is 1; it must be at least 2"):
        MixBlock(1)
    with pytest.raises(ValueError, match="mix_block.gamma_init is 2; it must be from 0 to 1"):
        MixBlock(8, gamma_init=2)
    with pytest.raises(ValueError, match=r"lam must be a scalar or \(2,\), got \(3,\)"):
        MixBlock(C)(*maps(dtype=torch.float32), torch.rand(3), size=(4, 4))
