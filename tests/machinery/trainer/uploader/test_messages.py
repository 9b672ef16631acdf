"""Test that messages between trainer and uploader arrive complete, at any length."""

from __future__ import annotations

import socket
import threading

from spot.trainer.uploader.messages import Channel, Message, Save

PATIENCE_S = 60.0


def test_a_long_message_is_sent_whole_after_a_look_that_waited_for_nothing() -> None:
    """The manifest of a run names each object of its data, and there may be many thousands."""
    ours, theirs = (Channel(end) for end in socket.socketpair())
    data = [
        {"uri": f"gs://bucket/shard-{number:06d}", "size": 1, "crc32c": 1, "generation": 1} for number in range(50_000)
    ]
    order = Save(save=1, size=1, manifest={"data": data}, prune=False)
    heard: list[Message] = []

    def listen() -> None:
        while not heard:
            heard.extend(theirs.receive(PATIENCE_S))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert list(ours.receive(0.0)) == []
    ours.send(order)
    listener.join(PATIENCE_S)
    assert heard == [order]
