from kit.runtime.seeds import stable_seed


def test_the_same_parts_give_the_same_seed_in_every_process():
    assert stable_seed(42, "fold", 0) == 2399454784


def test_parts_do_not_run_into_each_other():
    assert stable_seed(1, 23) != stable_seed(12, 3)
