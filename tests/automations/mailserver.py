"""A real mail server on loopback, small enough to read: it keeps what it is sent and answers as told."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class MailServer:
    """`answers`: what a command is answered instead, by its first word ("RCPT", "DATA", "." for the end)."""

    port: int = 0
    answers: Mapping[str, str] = field(default_factory=dict)
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(raw, policy=policy.default) for raw in self.raw]


class _Conversation(socketserver.StreamRequestHandler):
    seen: MailServer

    def handle(self) -> None:
        self._say("220 loopback")
        recipients: list[str] = []
        while line := self.rfile.readline().decode().strip():
            verb = line.split(" ")[0].upper()
            answer = self.seen.answers.get(verb)
            if verb == "QUIT":
                return self._say("221 bye")
            if answer is not None:
                self._say(answer)
            elif verb == "DATA":
                self._say("354 go on")
                self._take(recipients)
                recipients = []
            else:
                if verb == "RCPT":
                    recipients.append(line.partition("<")[2].partition(">")[0])
                self._say("250 ok")
        return None

    def _take(self, recipients: list[str]) -> None:
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        if "." not in self.seen.answers:
            self.seen.raw.append(b"".join(lines))
            self.seen.recipients.append(recipients)
        self._say(self.seen.answers.get(".", "250 kept"))

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def mail_server(**answers: str) -> Iterator[MailServer]:
    """Listen until the block ends; `END` among the answers is that to a whole message."""
    seen = MailServer(answers={"." if verb == "END" else verb: text for verb, text in answers.items()})
    handler = type("Conversation", (_Conversation,), {"seen": seen})
    with _Server(("127.0.0.1", 0), handler) as server:
        seen.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield seen
        finally:
            server.shutdown()
