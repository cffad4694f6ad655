from __future__ import annotations

import itertools

import numpy as np
import pytest

from depcli.evaluation.statistics.significance import holm, paired_bootstrap, sign_flips, standard_error


def test_equals_a_plain_loop_over_the_same_draws():
    rng = np.random.default_rng(3)
    a, b, w = rng.normal(size=9), rng.normal(size=9), rng.integers(1, 40, size=9)
    found = paired_bootstrap(a, b, w, resamples=300, seed=7)
    draws = np.random.default_rng(7).integers(9, size=(300, 9))
    means = []
    for draw in draws.tolist():
        top = sum(float(w[i]) * (float(a[i]) - float(b[i])) for i in draw)
        means.append(top / sum(float(w[i]) for i in draw))
    means.sort()
    low, high = (quantile(means, share) for share in (0.025, 0.975))
    assert found.difference == pytest.approx(sum(w * (a - b)) / sum(w), abs=1e-12)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


def test_users_are_drawn_with_all_their_requests():
    rng = np.random.default_rng(4)
    users = ["b", "a", "b", "c", "", "a", "b", "d", "d", "a"]
    a, b, w = rng.normal(size=10), rng.normal(size=10), rng.integers(1, 40, size=10)
    found = paired_bootstrap(a, b, w, users, resamples=300, seed=7)
    order = ["b", "a", "c", "", "d"]  # as they come
    means = []
    for draw in np.random.default_rng(7).integers(5, size=(300, 5)).tolist():
        taken = [i for user in draw for i in range(10) if users[i] == order[user]]
        top = sum(float(w[i]) * (float(a[i]) - float(b[i])) for i in taken)
        means.append(top / sum(float(w[i]) for i in taken))
    means.sort()
    assert (found.requests, found.groups) == (10, 5)
    assert found.difference == pytest.approx(sum(w * (a - b)) / sum(w), abs=1e-12)
    assert found.low == pytest.approx(quantile(means, 0.025), abs=1e-12)
    assert found.high == pytest.approx(quantile(means, 0.975), abs=1e-12)


def test_one_request_of_each_user_is_as_without_users():
    a, b = np.random.default_rng(2).normal(size=(2, 40))
    w = np.arange(1, 41)
    assert paired_bootstrap(a, b, w, [f"user {i}" for i in range(40)]) == paired_bootstrap(a, b, w)


def test_requests_counted_thrice_say_no_more_than_once():
    a, b = np.random.default_rng(6).normal(size=(2, 30))
    once = paired_bootstrap(a, b)
    thrice = paired_bootstrap(np.repeat(a, 3), np.repeat(b, 3), groups=np.repeat(np.arange(30), 3).tolist())
    assert (thrice.low, thrice.high) == (pytest.approx(once.low), pytest.approx(once.high))
    naive = paired_bootstrap(np.repeat(a, 3), np.repeat(b, 3))
    assert naive.high - naive.low < 0.7 * (once.high - once.low)


def quantile(ordered: list[float], share: float) -> float:
    """By linear interpolation between neighbours."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def test_approaches_the_exact_distribution_of_all_resamples():
    a, b = np.array([0.1, 0.9, 0.4, 0.7, 0.3, 0.55]), np.array([0.2, 0.3, 0.35, 0.5, 0.4, 0.1])
    d = (a - b).tolist()
    exact = sorted(sum(d[i] for i in draw) / 6 for draw in itertools.product(range(6), repeat=6))
    found = paired_bootstrap(a, b, resamples=40_000)
    assert found.low == pytest.approx(quantile(exact, 0.025), abs=0.01)
    assert found.high == pytest.approx(quantile(exact, 0.975), abs=0.01)


def test_draws_do_not_depend_on_how_they_are_cut(monkeypatch):
    from depcli.evaluation.statistics import significance

    a, b = np.random.default_rng(0).normal(size=(2, 50))
    whole = paired_bootstrap(a, b, resamples=999)
    monkeypatch.setattr(significance, "_CHUNK", 70)
    assert paired_bootstrap(a, b, resamples=999) == whole


def test_same_values_never_differ_and_a_shift_always_does():
    a = np.random.default_rng(1).normal(size=60)
    same, shifted = paired_bootstrap(a, a), paired_bootstrap(a + 0.5, a)
    assert (same.difference, same.low, same.high, same.clear) == (0, 0, 0, False)
    assert shifted.clear and shifted.low == pytest.approx(0.5) and shifted.high == pytest.approx(0.5)


def test_one_user_has_no_interval_however_many_reviews_agree():
    found = paired_bootstrap(np.ones(5), np.zeros(5), groups=["u"] * 5)
    assert (found.difference, found.low, found.high, found.clear) == (1, None, None, False)
    assert paired_bootstrap(np.ones(5), np.zeros(5), groups=["u"] * 4 + ["v"]).low == 1


def test_users_with_habits_are_called_different_about_as_often_as_promised():
    rng = np.random.default_rng(8)
    trials, users = 300, np.repeat(np.arange(60), 4)
    clear = {"users": 0, "requests": 0}
    for i in range(trials):
        a = np.repeat(rng.normal(size=60), 4) + 0.5 * rng.normal(size=240)  # in truth there is no difference
        clear["users"] += paired_bootstrap(a, np.zeros(240), None, users.tolist(), resamples=400, seed=i).clear
        clear["requests"] += paired_bootstrap(a, np.zeros(240), resamples=400, seed=i).clear
    assert clear["users"] <= trials * 0.06 + 4 * (trials * 0.06 * 0.94) ** 0.5 < clear["requests"]


def test_two_copies_of_one_method_are_called_different_about_as_often_as_promised():
    rng = np.random.default_rng(5)
    trials = 400
    clear = sum(paired_bootstrap(*rng.gamma(2.0, size=(2, 100)), resamples=400, seed=i).clear for i in range(trials))
    # 5 % expected; the bound is four standard errors above.
    assert clear <= trials * 0.05 + 4 * (trials * 0.05 * 0.95) ** 0.5


@pytest.mark.parametrize(
    ("a", "b", "weights"),
    [([], [], None), ([1, 2], [1], None), ([1.0], [float("nan")], None), ([1, 2], [1, 2], [1, 0]), ([1, 2], [1, 2], [1])],
)
def test_values_that_are_no_pairs_are_refused(a, b, weights):
    with pytest.raises(ValueError, match="paired values"):
        paired_bootstrap(a, b, weights)


def test_every_request_must_be_somebodys():
    with pytest.raises(ValueError, match="paired values need one and the same length"):
        paired_bootstrap([1.0, 2.0], [1.0, 1.0], groups=["u"])


def test_all_sign_patterns_of_a_few_users_are_gone_through():
    rng = np.random.default_rng(11)
    sums = rng.normal(0.3, 1.0, size=(9, 4))
    sums[:3, 1] = 0  # users without a part in a difference
    sums[:, 2] = 1.0  # equal sums: every pattern with eight or nine of one sign ties or not, as it should
    found = sign_flips(sums)
    for column, p in zip(sums.T, found, strict=True):
        seen = abs(sum(column))
        patterns = [abs(sum(s * x for s, x in zip(signs, column, strict=True))) for signs in itertools.product((1, -1), repeat=9)]
        assert p == sum(value >= seen - 1e-12 for value in patterns) / 2**9
    assert found[2] == 2 / 2**9


def test_drawn_sign_patterns_approach_all_of_them(monkeypatch):
    sums = np.random.default_rng(12).normal(0.4, 1.0, size=(13, 5))
    exact = sign_flips(sums)
    drawn = sign_flips(sums, flips=8000)
    assert (np.abs(drawn - exact) <= 4 * np.sqrt(exact * (1 - exact) / 8000) + 1 / 8000).all()
    from depcli.evaluation.statistics import significance

    monkeypatch.setattr(significance, "_CHUNK", 130)
    assert (sign_flips(sums, flips=8000) == drawn).all(), "however they are cut"
    assert (sign_flips(sums) == exact).all()


def test_a_p_value_of_drawn_patterns_is_never_0_and_of_no_difference_1():
    sums = np.zeros((40, 2))
    sums[:, 0] = 1.0
    assert sign_flips(sums, flips=999).tolist() == [1 / 1000, 1.0]


def test_two_copies_of_one_method_have_uniform_p_values_and_users_count_once():
    """Users with habits, four requests each: p must be of users, else a difference that is none is found far too often."""
    rng = np.random.default_rng(13)
    trials, users = 400, 25
    habits, noise = rng.normal(size=(users, trials)), rng.normal(size=(4, users, trials))
    by_user = (habits + 0.5 * noise).sum(axis=0)
    by_request = (habits + 0.5 * noise).reshape(4 * users, trials)
    rejected = (sign_flips(by_user, flips=2000) <= 0.05).mean(), (sign_flips(by_request, flips=2000) <= 0.05).mean()
    bound = 4 * (0.05 * 0.95 / trials) ** 0.5
    assert abs(rejected[0] - 0.05) <= bound and rejected[1] > 0.05 + bound


def test_holm_is_what_its_definition_says():
    p = [0.04, 0.001, 0.5, 0.013, 0.013]
    # Sorted .001 .013 .013 .04 .5, times 5 4 3 2 1, never below the one before, at most 1.
    assert holm(p) == pytest.approx([0.08, 0.005, 0.5, 0.052, 0.052])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0] and holm([0.03]).tolist() == [0.03]


def test_the_standard_error_of_single_requests_is_the_usual_one():
    x = np.random.default_rng(14).normal(size=30)
    assert standard_error(x) == pytest.approx(x.std(ddof=1) / 30**0.5)
    assert standard_error(x[:1]) is None and standard_error([1.0, 3.0], groups=["u", "u"]) is None


def test_the_standard_error_over_users_is_that_of_the_bootstrap():
    rng = np.random.default_rng(15)
    users = np.repeat(np.arange(80), 5)
    x, w = np.repeat(rng.normal(size=80), 5) + rng.normal(size=400), rng.integers(5, 60, size=400)
    interval = paired_bootstrap(x, np.zeros(400), w, users.tolist(), resamples=4000)
    assert standard_error(x, w, users.tolist()) == pytest.approx((interval.high - interval.low) / (2 * 1.96), rel=0.08)
    assert standard_error(x, w) < 0.8 * standard_error(x, w, users.tolist())
