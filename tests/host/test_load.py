"""A short run of the load bench: nothing is lost, while a node with an open run takes nothing and says nothing."""

import pytest
from load import full_speed, real_rate, stopped_node


@pytest.fixture
def beside_a_stopped_node(daemon):
    stopped = stopped_node(daemon.endpoint)
    yield daemon
    stopped.kill()
    stopped.wait()


def test_four_nodes_and_a_node_at_full_speed_lose_nothing_beside_one_that_is_stopped(beside_a_stopped_node):
    daemon = beside_a_stopped_node
    slow, fast = real_rate(daemon, 1.0), full_speed(daemon, 1.0)
    assert slow.spans == slow.recorded == 8000
    assert fast.spans == fast.recorded >= 50_000
    (meter,) = daemon.status()["boards"]
    assert meter["link"] == "up" and meter["samples"] > 0 and meter["lost_frames"] == 0
