"""What the daemon says about boards that restart and computers that sleep."""

from epid.daemon.restarts import TOO_OFTEN, WINDOW_NS, Restarts
from epid.daemon.sleep import SleepWatch

S = 1_000_000_000


def test_a_board_that_restarts_every_second_is_one_sentence():
    restarts = Restarts()
    said = [restarts.started(k * S) for k in range(60)]
    sentences = [text for text in said if text]
    assert said[: TOO_OFTEN - 1] == [None] * (TOO_OFTEN - 1), "the usual greeting"
    assert sentences == ["has started 4 times in 3 s: check its supply and its cable; nothing more is said of it"]
    assert set(said[TOO_OFTEN:]) == {""}


def test_a_board_that_came_to_rest_is_greeted_again():
    restarts = Restarts()
    for k in range(10):
        restarts.started(k * S)
    assert restarts.started(10 * S + WINDOW_NS) is None


def test_a_sleep_is_noticed_once_and_a_drift_of_the_clocks_is_none():
    ahead = iter([0, 50_000_000, 10 * S, 10 * S])
    watch = SleepWatch(lambda: next(ahead))
    assert [watch.slept_s() for _ in range(3)] == [0.0, 9.95, 0.0]
