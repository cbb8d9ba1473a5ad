"""The ring keeps order, drops the oldest, counts it, and never touches a frame that is being sent."""

from expect import Noise, raises

from epi_firmware.ring import FrameRing


def push(ring, number):
    slot = ring.slot()
    slot[0], slot[1] = number >> 8, number & 0xFF
    ring.push(2)


def oldest(ring):
    frame = ring.oldest()
    assert ring.oldest_length() == 2
    return frame[0] << 8 | frame[1]


def test_first_in_first_out():
    ring = FrameRing(4, 8)
    for number in (1, 2, 3):
        push(ring, number)
    assert [pop(ring) for _ in range(3)] == [1, 2, 3]
    assert len(ring) == 0 and ring.dropped == 0


def pop(ring):
    number = oldest(ring)
    ring.pop()
    return number


def test_the_oldest_makes_room_and_is_counted():
    ring = FrameRing(4, 8)
    for number in range(10):
        push(ring, number)
    assert len(ring) == 3 and ring.dropped == 7
    assert [pop(ring) for _ in range(3)] == [7, 8, 9]


def test_a_frame_on_its_way_is_not_dropped():
    ring = FrameRing(4, 8)
    push(ring, 1)
    ring.hold()
    held = ring.oldest()
    for number in range(2, 12):
        push(ring, number)
        assert ring.oldest() is held and oldest(ring) == 1
    assert [pop(ring) for _ in range(3)] == [1, 10, 11]
    assert ring.dropped == 8


def test_against_a_list():
    noise, ring, model, dropped, number, held = Noise(21), FrameRing(6, 8), [], 0, 0, False
    for _ in range(4000):
        choice = noise.below(5)
        if choice < 3:
            number += 1
            push(ring, number)
            if len(model) == 5:
                del model[1 if held else 0]
                dropped += 1
            model.append(number)
        elif model and choice == 3:
            ring.hold()
            held = True
        elif model:
            assert pop(ring) == model.pop(0)
            held = False
        assert len(ring) == len(model) and ring.dropped == dropped
        assert not model or oldest(ring) == model[0]


def test_too_small_a_ring_is_refused():
    assert "at least 3" in raises(ValueError, FrameRing, 2, 8)
