"""``torchrun`` for tools/dist_train.sh: on one machine, out of reach of every other."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys

from torch.distributed import TCPStore, run
from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

from ssl_ext.errors import UserError, run_tool

BACKENDS = ("GLOO", "NCCL")


class LoopbackRendezvous(static_tcp_rendezvous.StaticTCPRendezvous):
    """PyTorch's rendezvous, except that at a loopback address it listens on that address alone.

    PyTorch gives the address to the clients only: its store listens on every interface of the machine, and
    whoever reaches the port reads and writes what the processes agree on. A rendezvous of several nodes has
    to be reached, and is left as it is.
    """

    def next_rendezvous(self) -> static_tcp_rendezvous.RendezvousInfo:
        """Start listening where this is the first node; the rest is PyTorch's."""
        address = socket.gethostbyname(self.master_addr)
        if self._store is None and self.rank == 0 and ipaddress.ip_address(address).is_loopback:
            self._store = TCPStore(
                self.master_addr,
                self.master_port,
                self.world_size,
                True,
                self.timeout,
                multi_tenant=True,
                master_listen_fd=socket.create_server((address, self.master_port)).detach(),
                use_libuv=False,  # PyTorch 2.6's other backend takes no socket
            )
        return super().next_rendezvous()


def check_port(address: str, port: int) -> None:
    """Raise UserError where something else listens already."""
    try:
        socket.create_server((address, port)).close()
    except OSError as error:
        raise UserError(
            f"The processes cannot meet at {address}:{port} ({os.strerror(error.errno or 0)}): "
            "set PORT to a free port."
        ) from error


def stay_on_loopback() -> None:
    """Let gloo and NCCL listen on the loopback interface, unless the environment names another.

    By themselves they take the address of the host's name, which may be a public one.
    """
    for _, name in socket.if_nameindex():
        if name.startswith("lo"):
            for backend in BACKENDS:
                os.environ.setdefault(f"{backend}_SOCKET_IFNAME", name)


def main() -> None:
    """Launch as ``torchrun`` does, with its arguments."""
    args = run.parse_args(sys.argv[1:])
    if args.nnodes == "1":
        check_port(args.master_addr, args.master_port)
        stay_on_loopback()
    static_tcp_rendezvous.StaticTCPRendezvous = LoopbackRendezvous  # type: ignore[misc]
    run.main(sys.argv[1:])


if __name__ == "__main__":
    run_tool(main)
