"""Both stampers against the same expectations, called as an engine calls them: through their addresses."""

from __future__ import annotations

import ctypes
import time
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookrun.python_stamper import PythonStamper
from hookrun.stamps import Stamper, compiled_stamper

OP = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
NODE = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
Make = Callable[[array], Stamper]


def _compiled(times_ns: array) -> Stamper:
    stamper = compiled_stamper(times_ns)
    if stamper is None:
        pytest.skip("the extension was not built here")
    return stamper


@pytest.fixture(params=[_compiled, PythonStamper], ids=["C", "Python"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def call_op(stamper: Stamper, times: int) -> list[bool]:
    op = OP(stamper.op_address)
    return [op(stamper.data_address) for _ in range(times)]


def test_every_call_is_stamped_in_the_nodes_clock(make: Make) -> None:
    times = array("q", bytes(8 * 10))
    stamper = make(times)
    before = now_ns()
    assert call_op(stamper, 5) == [False] * 5
    assert (stamper.calls, stamper.stored, stamper.overflow) == (5, 5, 0)
    assert before <= times[0] <= times[1] <= times[2] <= times[3] <= times[4] <= now_ns()
    assert list(times[5:]) == [0] * 5


def test_only_the_watched_calls_are_stamped(make: Make) -> None:
    times = array("q", bytes(8 * 10))
    stamper = make(times)
    stamper.watch((0, 3, 4))
    call_op(stamper, 3)
    assert (stamper.calls, stamper.stored) == (3, 1)
    stamper.reset()
    before = now_ns()
    call_op(stamper, 7)
    assert (stamper.calls, stamper.stored) == (7, 4)  # the sixth is the first of the next computation
    assert before <= times[0] <= times[1] <= times[2] <= times[3] <= now_ns()
    stamper.reset()
    call_op(stamper, 1)
    assert (stamper.calls, stamper.stored) == (1, 1)
    stamper.watch(())
    call_op(stamper, 9)
    assert (stamper.calls, stamper.stored) == (9, 0)
    stamper.watch(None)
    call_op(stamper, 9)
    assert (stamper.calls, stamper.stored) == (9, 9)


def test_a_full_buffer_is_counted_and_never_overrun(make: Make) -> None:
    times = array("q", [0, 0, -7])
    stamper = make(memoryview(times)[:2])
    call_op(stamper, 5)
    assert (stamper.calls, stamper.stored, stamper.overflow) == (5, 2, 3)
    assert times[2] == -7
    stamper.reset()
    call_op(stamper, 3)
    assert stamper.overflow == 4


def test_nodes_are_asked_for_and_stamped_after_their_computation(make: Make) -> None:
    times = array("q", bytes(8 * 4))
    stamper = make(times)
    stamper.watch((1, 2))
    node = NODE(stamper.node_address)
    answers = []
    for _ in range(4):  # as the scheduler does: ask for each node, come back behind those wanted
        wanted = node(None, True, stamper.data_address)
        answers.append(wanted)
        if wanted:
            assert node(None, False, stamper.data_address)
    assert answers == [False, True, True, False]
    assert (stamper.calls, stamper.stored) == (4, 2)


def test_stop_ends_the_computation_at_the_next_call(make: Make) -> None:
    stamper = make(array("q", bytes(80)))
    stamper.stop = 1
    assert call_op(stamper, 1) == [True]
    assert NODE(stamper.node_address)(None, False, stamper.data_address) is False
    stamper.stop = 0
    assert call_op(stamper, 1) == [False]


@pytest.mark.parametrize("calls", [(1, 1), (2, 1), (-1,)])
def test_watched_calls_must_ascend(make: Make, calls: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        make(array("q", [0])).watch(calls)


def test_the_compiled_stamper_refuses_what_is_no_array_of_64_bit_integers() -> None:
    for wrong in (array("i", [0]), array("d", [0.0]), bytes(8), 7):
        with pytest.raises((TypeError, BufferError)):
            _compiled(wrong)
    stamper = _compiled(array("q", [0]))
    with pytest.raises(RuntimeError, match="twice"):
        stamper.__init__(array("q", [0]))
    with pytest.raises(TypeError):
        stamper.watch("x")
    with pytest.raises(TypeError):
        stamper.watch(5)
    stamper.watch((0,))
    assert call_op(stamper, 1) == [False]


WATCHED = st.one_of(st.none(), st.lists(st.integers(0, 40), unique=True, max_size=8).map(sorted))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(WATCHED, st.lists(st.integers(0, 60), max_size=4)), max_size=5))
def test_both_stampers_count_alike_whatever_is_called(plans: list[tuple[list[int] | None, list[int]]]) -> None:
    """Computations with fewer, as many, or more calls than planned, one plan after the other."""
    stampers = [_compiled(array("q", bytes(8 * 64))), PythonStamper(array("q", bytes(8 * 64)))]
    for watched, computations in plans:
        for stamper in stampers:
            stamper.watch(watched)
        for calls in computations:
            for stamper in stampers:
                stamper.reset()
                call_op(stamper, calls)
            first, second = ((stamper.calls, stamper.stored, stamper.overflow) for stamper in stampers)
            length = watched[-1] + 1 if watched else 0
            stamped = sum(call % length in watched for call in range(calls)) if watched else calls * (watched is None)
            assert first == second == (calls, stamped, 0)


def test_a_python_stamp_is_taken_at_the_watched_call() -> None:
    times = array("q", bytes(8 * 4))
    stamper = PythonStamper(times)
    stamper.watch((2, 5))
    op, before = OP(stamper.op_address), []
    for _ in range(8):
        before.append(now_ns())
        op(0)
        time.sleep(0.002)
    assert (stamper.calls, stamper.stored) == (8, 2)
    for stamp, call in zip(times, (2, 5), strict=False):
        assert before[call] <= stamp < before[call + 1]


def test_a_caller_that_holds_the_gil_is_counted_and_stopped_like_any_other() -> None:
    """PyObject_IsTrue stands in for a callback: what it is called with answers false, until it is told to stop."""
    times = array("q", bytes(8 * 8))
    stamper = PythonStamper(times)
    stamper.watch((1, 3))
    address, data = stamper.holding_op
    holding = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(address)
    before = now_ns()
    assert [holding(data) for _ in range(4)] == [False] * 4
    assert call_op(stamper, 4) == [False] * 4  # both ways lead through the same computation
    assert (stamper.calls, stamper.stored) == (8, 4)
    assert before <= times[0] <= times[1] <= times[2] <= times[3] <= now_ns()
    stamper.stop = 1
    assert holding(data) is True
    assert call_op(stamper, 1) == [True]
    stamper.stop = 0
    assert holding(data) is False
