from beam_jobs.propagation import passes


def test_blocks_are_sent_as_soon_as_they_are_large(monkeypatch):
    monkeypatch.setattr(passes, "_SENT_BYTES", 10)
    made = []

    def make():
        for number in range(100):
            made.append(number)
            yield number % 2, bytes([number] * 4)

    sender = passes._Sender()
    sender.start_bundle()
    sent = sender.collect(make())
    assert [next(sent), next(sent)] == [(0, b"\0\0\0\0\2\2\2\2"), (1, b"\1\1\1\1")]
    assert made == [0, 1, 2]
    rest = [*sent, *(block.value for block in sender.finish_bundle())]
    assert sum(len(block) for _, block in rest) == 4 * 97
