"""Losses: a contract for every entry, and each formula against a reference or by hand."""

import math

import pytest
import torch
from scipy.optimize import brentq
from timm.loss import AsymmetricLossMultiLabel, AsymmetricLossSingleLabel, BinaryCrossEntropy
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from kit.config import Component
from kit.engine.optim.losses import Classes, build_loss, losses, num_classes_listed, register_loss
from kit.engine.optim.tempered_softmax import tempered_softmax
from kit.tasks import tasks
from tests.conftest import raises_kit_error

MULTICLASS, SOFT, MULTILABEL, REGRESSION = (
    tasks.get(n) for n in ("multiclass", "soft", "multilabel", "regression")
)
ENTRIES = [
    (name, task)
    for name in losses
    for task in (MULTICLASS, SOFT, MULTILABEL)
    if task.target in losses.get(name).functions
]
IDS = [f"{name}-{task.name}" for name, task in ENTRIES]
every_loss = pytest.mark.parametrize(("name", "task"), ENTRIES, ids=IDS)

# Options other than the defaults: the contract must hold for them too.
OPTIONS = {
    "cross_entropy": {"label_smoothing": 0.1},
    "kl": {"label_smoothing": 0.1},
    "bce": {"label_smoothing": 0.1, "positive_weight": "balanced", "target_threshold": 0.2},
    "focal": {"gamma": 0.5, "alpha": 0.25},
    "asymmetric": {"gamma_positive": 0.5, "gamma_negative": 1.5},
    "poly": {"epsilon": 2.0},
    "symmetric_cross_entropy": {"alpha": 6.0, "beta": 0.1},
    "bi_tempered": {"t1": 0.5, "t2": 2.0, "label_smoothing": 0.1},
}


def configured(name, task, class_weights=None, prevalence=None, **options):
    return build_loss(Component(name=name, **options), task, class_weights, prevalence)


def batch(task, images=10, classes=4, seed=0):
    """Return logits and soft targets, as mixup makes them."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator) * 3
    noise = torch.rand(images, classes, generator=generator)
    return logits, noise / noise.sum(dim=1, keepdim=True) if task.exclusive else noise.round()


def hard(task, images=10, classes=4, seed=0):
    logits, targets = batch(task, images, classes, seed)
    return logits, F.one_hot(targets.argmax(dim=1), classes).float() if task.exclusive else targets


# --- the contract


@every_loss
@pytest.mark.parametrize("unusual", [False, True])
def test_the_loss_of_a_batch_is_the_mean_over_its_images(name, task, unusual):
    logits, targets = batch(task)
    options = OPTIONS.get(name, {}) if unusual else {}
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0]) if unusual else None
    loss = configured(name, task, weights, torch.tensor([0.1, 0.2, 0.3, 0.9]), **options)
    whole = loss(logits, targets)
    assert whole.shape == ()
    alone = torch.stack([loss(logits[i : i + 1], targets[i : i + 1]) for i in range(10)])
    torch.testing.assert_close(alone.mean(), whole)
    parts = [
        loss(logits[part], targets[part]) * len(logits[part]) / 10 for part in (slice(0, 3), slice(3, 10))
    ]
    torch.testing.assert_close(sum(parts), whole)


@every_loss
def test_every_loss_is_lowest_for_the_right_class(name, task):
    loss = configured(name, task)
    targets = torch.eye(3)
    right = targets * 8 - 4
    assert loss(right, targets) < loss(torch.zeros(3, 3), targets) < loss(-right, targets)


@every_loss
@pytest.mark.parametrize("size", [0.0, 20.0, 200.0, 1e4])
def test_losses_and_gradients_are_finite_for_extreme_logits(name, task, size):
    for options in ({}, OPTIONS.get(name, {})):
        loss = configured(name, task, **options)
        for sign in (1, -1):
            logits = (sign * size * (torch.eye(3) * 2 - 1)).requires_grad_()
            value = loss(logits, torch.eye(3))
            value.backward()
            assert value.isfinite()
            assert logits.grad.isfinite().all()


@every_loss
def test_gradients_agree_with_numerical_differentiation(name, task):
    logits, targets = batch(task, images=3)
    logits = logits.double().requires_grad_()
    for options in ({}, {k: v for k, v in OPTIONS.get(name, {}).items() if k != "target_threshold"}):
        loss = configured(name, task, torch.tensor([0.5, 1.0, 2.0, 3.0]), **options)
        assert torch.autograd.gradcheck(lambda z, f=loss: f(z, targets.double()), (logits,))


@every_loss
def test_class_weights_scale_the_loss_and_weights_of_one_do_not_change_it(name, task):
    logits, targets = hard(task)
    plain = configured(name, task)(logits, targets)
    torch.testing.assert_close(configured(name, task, torch.ones(4))(logits, targets), plain)
    torch.testing.assert_close(configured(name, task, torch.full((4,), 2.0))(logits, targets), 2 * plain)
    uneven = configured(name, task, torch.tensor([0.0, 1.0, 5.0, 9.0]))
    assert not torch.isclose(uneven(logits, targets), plain)


# --- the formulas


def test_cross_entropy_agrees_with_a_computation_by_hand():
    loss = build_loss(None, MULTICLASS)(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(math.log(2))
    bce = build_loss(None, MULTILABEL)(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert bce.item() == pytest.approx(math.log(2))


def test_cross_entropy_equals_torch():
    logits, targets = batch(MULTICLASS)
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0])
    ours = configured("cross_entropy", MULTICLASS, weights, label_smoothing=0.1)(logits, targets)
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets, weights, label_smoothing=0.1))


def test_bce_applies_positive_weights():
    logits, targets = batch(MULTILABEL)
    prevalence = torch.tensor([0.5, 0.2, 0.1, 0.04])
    balanced = configured("bce", MULTILABEL, None, prevalence, positive_weight="balanced")
    listed = configured("bce", MULTILABEL, positive_weight=[1.0, 4.0, 9.0, 24.0])
    expected = F.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=torch.tensor([1.0, 4.0, 9.0, 24.0])
    )
    torch.testing.assert_close(balanced(logits, targets), expected)
    torch.testing.assert_close(listed(logits, targets), expected)
    one = configured("bce", MULTILABEL, positive_weight=3.0)(logits, targets)
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(one, expected)
    unknown = configured("bce", MULTILABEL, positive_weight="balanced")(logits, targets)
    torch.testing.assert_close(unknown, F.binary_cross_entropy_with_logits(logits, targets))


def test_balanced_weights_are_finite_for_classes_of_all_or_no_images():
    loss = configured("bce", MULTILABEL, None, torch.tensor([0.0, 1.0]), positive_weight="balanced")
    assert loss(torch.zeros(2, 2), torch.eye(2)).isfinite()


def test_bce_rounds_targets_at_the_threshold():
    logits, targets = batch(MULTICLASS)
    ours = configured("bce", MULTICLASS, target_threshold=0.3)(logits, targets)
    torch.testing.assert_close(ours, BinaryCrossEntropy(smoothing=0.0, target_threshold=0.3)(logits, targets))


def test_soft_margin_equals_torch():
    logits, targets = batch(MULTILABEL)
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0])
    ours = configured("soft_margin", MULTILABEL, weights)(logits, targets)
    torch.testing.assert_close(ours, F.multilabel_soft_margin_loss(logits, targets, weights))


def test_sigmoid_focal_equals_torchvision():
    logits, targets = batch(MULTILABEL)
    for gamma, alpha in ((2.0, None), (1.5, 0.25), (0.0, None)):
        ours = configured("focal", MULTILABEL, gamma=gamma, alpha=alpha)(logits, targets)
        theirs = sigmoid_focal_loss(logits, targets, -1 if alpha is None else alpha, gamma, reduction="mean")
        torch.testing.assert_close(ours, theirs)


def test_softmax_focal_agrees_with_a_computation_by_hand_and_is_cross_entropy_at_gamma_0():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    loss = configured("focal", MULTICLASS, gamma=2.0)(logits, torch.tensor([[0.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx(-(0.8**2) * math.log(0.2), rel=1e-5)
    listed = configured("focal", MULTICLASS, gamma=2.0, alpha=[1.0, 3.0, 1.0])
    assert listed(logits, torch.tensor([[0.0, 1.0, 0.0]])).item() == pytest.approx(3 * loss.item(), rel=1e-5)
    logits, targets = batch(MULTICLASS)
    torch.testing.assert_close(
        configured("focal", MULTICLASS, gamma=0)(logits, targets), F.cross_entropy(logits, targets)
    )


def test_multilabel_asymmetric_loss_equals_timm():
    logits, targets = batch(MULTILABEL)
    for positive, negative, clip in ((1.0, 4.0, 0.05), (0.0, 2.0, 0.0), (0.0, 3.0, 0.2)):
        options = {"gamma_positive": positive, "gamma_negative": negative, "clip": clip}
        loss, reference = (
            configured("asymmetric", MULTILABEL, **options),
            AsymmetricLossMultiLabel(gamma_neg=negative, gamma_pos=positive, clip=clip),
        )
        for row in range(10):  # some versions of timm sum over the images
            image = (logits[row : row + 1], targets[row : row + 1])
            torch.testing.assert_close(loss(*image), reference(*image) / 4)


def test_multiclass_asymmetric_loss_equals_timm():
    logits, targets = hard(MULTICLASS)
    for positive, negative, smoothing in ((0.0, 4.0, 0.1), (1.0, 2.0, 0.0)):
        options = {"gamma_positive": positive, "gamma_negative": negative, "label_smoothing": smoothing}
        ours = configured("asymmetric", MULTICLASS, **options)(logits, targets)
        reference = AsymmetricLossSingleLabel(gamma_pos=positive, gamma_neg=negative, eps=smoothing)
        torch.testing.assert_close(ours, reference(logits, targets.argmax(dim=1)))


@pytest.mark.parametrize(
    ("task", "activation"), [(MULTICLASS, lambda z: z.softmax(1)), (MULTILABEL, torch.sigmoid)]
)
def test_mse_and_l1_of_probs_equal_torch(task, activation):
    logits, targets = batch(task)
    torch.testing.assert_close(
        configured("mse", task)(logits, targets), F.mse_loss(activation(logits), targets)
    )
    torch.testing.assert_close(
        configured("l1", task)(logits, targets), F.l1_loss(activation(logits), targets)
    )


def test_poly_adds_the_probability_missing_from_the_right_class():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    target = torch.tensor([[0.0, 1.0, 0.0]])
    loss = configured("poly", MULTICLASS, epsilon=2.0)(logits, target)
    assert loss.item() == pytest.approx(-math.log(0.2) + 2 * 0.8, rel=1e-5)
    logits, targets = batch(MULTILABEL)
    wrong = (torch.sigmoid(logits) - targets).abs().mean()
    ours = configured("poly", MULTILABEL, epsilon=2.0)(logits, targets)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(logits, targets) + 2 * wrong)


def test_symmetric_cross_entropy_agrees_with_a_computation_by_hand():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    loss = configured("symmetric_cross_entropy", MULTICLASS, alpha=0.5, beta=2.0)
    # The reverse: minus 0.7 log 0 and minus 0.1 log 0, with log 0 taken as -4, and log 1 is 0.
    expected = 0.5 * -math.log(0.2) + 2.0 * 4 * (0.7 + 0.1)
    assert loss(logits, torch.tensor([[0.0, 1.0, 0.0]])).item() == pytest.approx(expected, rel=1e-5)


def tempered(logits, t):
    """Return the tempered softmax of a list by bisection."""

    def exp_t(x):
        return (1 + (1 - t) * x) ** (1 / (1 - t))

    top = max(logits)
    normalizer = brentq(lambda n: sum(exp_t(z - n) for z in logits) - 1, top, top + 1e6, xtol=1e-14)
    return [exp_t(z - normalizer) for z in logits]


@pytest.mark.parametrize("t", [1.05, 1.2, 2.0, 4.0])
def test_the_tempered_softmax_solves_its_equation_and_sums_to_one(t):
    for logits in ([0.0, 1.0, -2.0, 0.5], [30.0, -10.0, 0.0, 29.0], [0.0] * 4):
        found = tempered_softmax(torch.tensor([logits], dtype=torch.float64), t)[0]
        assert found.tolist() == pytest.approx(tempered(logits, t), abs=1e-6)
        assert found.sum().item() == pytest.approx(1, abs=1e-6)


def test_the_tempered_softmax_of_many_classes_sums_to_one():
    logits = torch.randn(8, 1000, generator=torch.Generator().manual_seed(0)) * 5
    for t in (1.2, 2.0, 4.0):
        torch.testing.assert_close(tempered_softmax(logits, t).sum(dim=1), torch.ones(8), atol=1e-3, rtol=0)


def test_bi_tempered_equals_the_formula_of_the_paper():
    t1, t2 = 0.5, 1.5
    logits, target = [1.0, -1.0, 0.5], [0.0, 1.0, 0.0]

    def log_t(x):
        return (x ** (1 - t1) - 1) / (1 - t1)

    expected = sum(
        y * (log_t(y) - log_t(p)) - (y ** (2 - t1) - p ** (2 - t1)) / (2 - t1)
        for y, p in zip(target, tempered(logits, t2), strict=True)
    )
    loss = configured("bi_tempered", MULTICLASS, t1=t1, t2=t2)(torch.tensor([logits]), torch.tensor([target]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_bi_tempered_at_temperature_one_is_cross_entropy():
    logits, targets = hard(MULTICLASS)
    ours = configured("bi_tempered", MULTICLASS, t1=1.0, t2=1.0)(logits, targets)
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets))


def test_bi_tempered_is_bounded_for_wrong_labels():
    target = torch.tensor([[1.0, 0.0]])
    far, farther = torch.tensor([[-20.0, 20.0]]), torch.tensor([[-200.0, 200.0]])
    bounded = configured("bi_tempered", MULTICLASS, t1=0.5, t2=2.0)
    assert bounded(farther, target) - bounded(far, target) < 0.5
    assert (
        configured("cross_entropy", MULTICLASS)(farther, target)
        - configured("cross_entropy", MULTICLASS)(far, target)
        > 300
    )


# --- what is refused


def test_unsuitable_and_unknown_losses_are_refused():
    with raises_kit_error("loss_unsuitable", "train.loss"):
        configured("cross_entropy", MULTILABEL)
    with raises_kit_error("loss_unsuitable", "train.loss"):
        configured("soft_margin", MULTICLASS)
    with raises_kit_error("unknown_name", "train.loss.name"):
        configured("crossentropy", MULTICLASS)
    with raises_kit_error("unknown_option", "train.loss.smoothing"):
        configured("bce", MULTILABEL, smoothing=0.1)


def test_options_are_checked_for_the_function_of_the_task():
    configured("asymmetric", MULTILABEL, clip=0.1)
    with raises_kit_error("unknown_option", "train.loss.clip"):
        configured("asymmetric", MULTICLASS, clip=0.1)
    with raises_kit_error("option_invalid", "train.loss.t2"):
        configured("bi_tempered", MULTICLASS, t2=0.5)
    with raises_kit_error("option_invalid", "train.loss.positive_weight"):
        configured("bce", MULTILABEL, positive_weight="balance")


def test_losses_of_numbers_agree_with_torch():
    outputs, targets = torch.randn(64, 1) * 2, torch.rand(64, 1)
    expected = {
        "mse": F.mse_loss(outputs, targets),
        "l1": F.l1_loss(outputs, targets),
        "huber": F.smooth_l1_loss(outputs, targets),
        "bce": F.binary_cross_entropy_with_logits(outputs, targets),
    }
    assert set(expected) == {name for name in losses if "number" in losses.get(name).functions}
    for name, value in expected.items():
        assert configured(name, REGRESSION)(outputs, targets) == pytest.approx(value.item(), rel=1e-6), name
    assert configured("huber", REGRESSION, delta=0.5)(outputs, targets) == pytest.approx(
        F.huber_loss(outputs, targets, delta=0.5).item(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("name", "task", "options"),
    [("cross_entropy", "regression", {}), ("huber", "multiclass", {}), ("huber", "multilabel", {})],
)
def test_a_loss_that_does_not_suit_the_task_is_refused_with_the_ones_that_do(name, task, options):
    with raises_kit_error("loss_unsuitable", "train.loss") as caught:
        configured(name, tasks.get(task), **options)
    assert tasks.get(task).loss in caught.value.rule + caught.value.next


def test_losses_of_numbers_take_no_class_options():
    for name, options in (("bce", {"positive_weight": 2.0}), ("mse", {"label_smoothing": 0.1})):
        with raises_kit_error("unknown_option"):
            configured(name, REGRESSION, **options)


def test_a_list_of_weights_needs_one_number_per_class():
    loss = configured("bce", MULTILABEL, positive_weight=[1.0, 2.0])
    with raises_kit_error("classes_differ", "train.loss.positive_weight"):
        loss(torch.zeros(2, 3), torch.zeros(2, 3))
    with raises_kit_error("classes_differ", "train.loss.positive_weight"):
        configured("bce", MULTILABEL, None, torch.rand(3), positive_weight=[1.0, 2.0])
    assert num_classes_listed(Component(name="bce", positive_weight=[1.0, 2.0])) == 2
    assert num_classes_listed(Component(name="bce", positive_weight=2.0)) is None
    assert num_classes_listed(None) is None


def test_entries_state_which_tasks_they_support():
    supported = {n: set(losses.get(n).functions) for n in ("cross_entropy", "soft_margin", "focal", "huber")}
    assert supported == {
        "cross_entropy": {"class", "distribution"},
        "soft_margin": {"classes"},
        "focal": {"class", "classes"},
        "huber": {"number"},
    }


def test_registering_a_loss_twice_for_the_same_tasks_is_an_error():
    with pytest.raises(ValueError, match="'cross_entropy' is registered twice"):
        register_loss("cross_entropy", "class")(lambda logits, targets, classes: logits.sum(dim=1))


def test_an_image_has_the_weight_of_its_classes():
    classes = Classes(torch.tensor([1.0, 3.0]))
    assert classes.of_images(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist() == [1.0, 2.0]


# --- distributions


@pytest.mark.parametrize("name", [name for name in losses if "distribution" in losses.get(name).functions])
def test_losses_for_distributions_are_lowest_where_the_probabilities_are_the_targets(name):
    loss, (noise, targets) = configured(name, SOFT), batch(SOFT)
    right = targets.log()
    for step in (0.01, 0.1, 1.0):
        assert loss(right, targets) < loss(right + step * noise, targets)


@pytest.mark.parametrize(
    "name", ["focal", "asymmetric", "poly", "bce", "bi_tempered", "symmetric_cross_entropy"]
)
def test_losses_that_are_lowest_elsewhere_are_refused_for_distributions(name):
    with raises_kit_error("loss_unsuitable"):
        configured(name, SOFT)


def test_kl_has_the_gradient_of_the_cross_entropy_and_is_zero_for_the_targets():
    targets = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    gradients = []
    for name in ("kl", "cross_entropy"):
        logits = batch(SOFT, 2, 3)[0].requires_grad_()
        configured(name, SOFT)(logits, targets).backward()
        gradients.append(logits.grad)
    torch.testing.assert_close(*gradients)
    nearly = targets.clamp(min=1e-30).log()
    assert configured("kl", SOFT)(nearly, targets).item() == pytest.approx(0, abs=1e-6)


def test_kl_by_hand():
    probs, targets = torch.tensor([[0.25, 0.25, 0.5]]), torch.tensor([[0.5, 0.0, 0.5]])
    assert configured("kl", SOFT)(probs.log(), targets).item() == pytest.approx(0.5 * math.log(2))
    smooth = [0.5 * 0.7 + 0.1, 0.1, 0.5 * 0.7 + 0.1]
    by_hand = sum(t * math.log(t / p) for t, p in zip(smooth, (0.25, 0.25, 0.5), strict=True))
    assert configured("kl", SOFT, label_smoothing=0.3)(probs.log(), targets).item() == pytest.approx(by_hand)
    weighted = configured("kl", SOFT, torch.tensor([3.0, 9.0, 1.0]))
    assert weighted(probs.log(), targets).item() == pytest.approx((0.5 * 3 + 0.5 * 1) * 0.5 * math.log(2))
