"""How a tool reaches a meter board: find its port, leave the running program, use the interpreter's prompt and its files.

    with connect(choose_port(None)) as board:      # sends the REPL command; the meter stops measuring
        print(board.identity, board.hello)
        settings = board.read("config.json") if board.exists("config.json") else b"{}"
        board.replace("config.json", new_settings)  # temporary name, sha256 on the board, rename
        board.reset()
    hello = wait_for_hello(board.port, board.identity.board_id, timeout_s=20)

Every failure is a BoardError whose text is one sentence for the user.
"""

from epi_tools.board.board import Board, Identity, connect
from epi_tools.board.errors import BoardError, SnippetError
from epi_tools.board.hello import Hello, Listener, ports_of, wait_for_hello
from epi_tools.board.ports import Port, choose_port, find_ports

__all__ = [
    "Board",
    "BoardError",
    "Hello",
    "Identity",
    "Listener",
    "Port",
    "SnippetError",
    "choose_port",
    "connect",
    "find_ports",
    "ports_of",
    "wait_for_hello",
]
