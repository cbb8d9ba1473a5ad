"""The line to the host: pings, HELLO, short writes, a host that does not read, and the way out to the prompt."""

from meterbench import BOOT_ID, MeterBench

from epi_protocol import messages as m
from epi_protocol.frame import FrameDecoder, encode_command


def kinds(bench):
    return [payload[0] for payload in bench.messages()]


def test_hello_comes_first_and_every_second():
    bench = MeterBench()
    seen = []
    for _ in range(60):
        bench.sweep()
        bench.meter.turn()
        seen += kinds(bench)
    assert seen[0] == m.HELLO
    assert seen.count(m.HELLO) == 3 and seen.count(m.SAMPLE) == 60


def test_a_ping_is_answered_with_its_nonce_and_two_stamps():
    bench = MeterBench().settled()
    bench.messages()
    bench.send(m.pack_ping(b"\x00\x03\x0a\xff"))
    bench.meter.turn()
    pongs = [m.parse_pong(payload) for payload in bench.messages() if payload[0] == m.PONG]
    assert len(pongs) == 1 and pongs[0]["nonce"] == b"\x00\x03\x0a\xff" and pongs[0]["boot_id"] == BOOT_ID
    assert pongs[0]["recv_us"] <= pongs[0]["send_us"] <= pongs[0]["recv_us"] + 1000


def test_a_ping_within_a_sweep_is_stamped_within_it():
    bench = MeterBench().settled()
    bench.messages()
    bench.sweep()
    start = bench.meter._due
    channel = bench.meter.channels[1]
    read_rest = channel.read_rest

    def ping_meanwhile():
        read_rest()
        bench.send(m.pack_ping(b"ping"))

    channel.read_rest = ping_meanwhile
    bench.sweep()
    bench.meter.turn()
    pong = [m.parse_pong(payload) for payload in bench.messages() if payload[0] == m.PONG][0]
    assert pong["recv_us"] < start + 12_000 < start + 16_000 < pong["send_us"]


def test_what_is_no_command_is_passed_over():
    bench = MeterBench().settled()
    bench.messages()
    bench.port.incoming.extend(b"print(1)\r\n\x03\x04" + encode_command(b"\x11ab") + encode_command(b"\x77abcd"))
    bench.port.incoming.extend(encode_command(b"\x12repl") + encode_command(m.pack_ping(b"here")))
    bench.meter.turn()
    assert [m.parse_pong(payload)["nonce"] for payload in bench.messages() if payload[0] == m.PONG] == [b"here"]
    assert not bench.meter.link.leave


def test_the_repl_command_ends_the_program():
    bench = MeterBench().settled()
    bench.send(m.pack_repl())
    bench.meter.run()
    assert bench.meter.link.leave


def test_short_writes_go_on_where_they_stopped():
    bench = MeterBench().settled()
    bench.messages()
    bench.port.room = 0
    bench.sweep()
    decoder, payloads = FrameDecoder(), []
    for room in range(1, 60):
        bench.port.room = room
        bench.meter.link.send()
        payloads += decoder.feed(bytes(bench.port.outgoing))
        bench.port.outgoing = bytearray()
    assert [payload[0] for payload in payloads] == [m.SAMPLE] and decoder.damaged == 0


def test_a_host_that_does_not_read_loses_the_oldest_and_is_told():
    bench = MeterBench({"ring_frames": 20}).settled()
    bench.messages()
    last_seen = bench.sweeps(1)[-1][0]["seq"]
    bench.port.room = 0
    for _ in range(50):
        bench.sweep()
    bench.port.room = -1
    samples = bench.sweeps(2)
    numbers = [head["seq"] for head, _channels in samples]
    assert samples[-1][0]["dropped"] == 50 - 19
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] - last_seen - 1 == samples[-1][0]["dropped"]


def test_a_frame_half_sent_is_finished_after_the_drop():
    bench = MeterBench({"ring_frames": 10}).settled()
    bench.messages()
    bench.port.room = 70
    for _ in range(18):
        bench.sweep()
    bench.port.room = -1
    numbers = [head["seq"] for head, _channels in bench.sweeps(1)]
    assert len(numbers) == 10 and numbers[1:] == list(range(numbers[1], numbers[1] + 9))
    assert numbers[0] < numbers[1] - 1


def test_after_a_long_stall_the_torn_frame_is_sent_anew():
    bench = MeterBench().settled()
    bench.messages()
    bench.port.room = 70
    for _ in range(30):
        bench.sweep()
    torn = bytes(bench.port.outgoing)
    bench.port.outgoing = bytearray()
    bench.port.room = -1
    bench.meter.turn()
    decoder = FrameDecoder()
    payloads = decoder.feed(torn + bytes(bench.port.outgoing))
    assert decoder.damaged == 1
    numbers = [m.parse_sample(payload)[0]["seq"] for payload in payloads if payload[0] == m.SAMPLE]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) >= 30


def test_a_pong_overtakes_a_full_ring():
    bench = MeterBench().settled()
    bench.messages()
    bench.port.room = 0
    for _ in range(15):
        bench.sweep()
    bench.send(m.pack_ping(b"fast"))
    bench.meter.link.receive(0)
    bench.port.room = -1
    bench.meter.turn()
    seen = kinds(bench)
    assert seen.index(m.PONG) <= 1 and seen.count(m.SAMPLE) == 15


def test_of_many_sentences_the_oldest_are_kept_and_the_rest_counted():
    bench = MeterBench().settled()
    bench.messages()
    for number in range(12):
        bench.meter.link.log(1, "sentence %d" % number)
    bench.meter.turn()
    texts = [m.parse_log(payload)[1] for payload in bench.messages() if payload[0] == m.LOG]
    assert texts == ["sentence %d" % number for number in range(8)]
    assert bench.meter.link.lost_logs == 4


def test_sweeps_keep_their_pace_over_the_wrap_of_the_ticks():
    bench = MeterBench(start_us=(1 << 30) - 400_000)
    stamps = [head["board_us"] for head, _channels in bench.sweeps(40)]
    steps = [later - sooner for sooner, later in zip(stamps, stamps[1:])]
    assert min(steps) >= 48_000 and max(steps) <= 52_000
    assert abs(stamps[-1] - 39 * 50_000) < 3000


def test_a_pause_is_not_made_up_for():
    bench = MeterBench().settled()
    bench.sweeps(1)
    bench.clock.sleep_us(700_000)
    stamps = [head["board_us"] for head, _channels in bench.sweeps(5)]
    steps = [later - sooner for sooner, later in zip(stamps, stamps[1:])]
    assert min(steps[1:]) >= 48_000
