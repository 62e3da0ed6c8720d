"""A tiny HTTP server for the figure of a published port: one epoll loop, every request is answered alike."""

import select
import socket

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serve(port: int) -> None:
    """Answer for ever."""
    listener = socket.create_server(("0.0.0.0", port), backlog=512)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                client, _ = listener.accept()
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
            elif clients[fd].recv(65536):
                clients[fd].sendall(ANSWER)
            else:
                clients.pop(fd).close()


serve(8080)
