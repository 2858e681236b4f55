"""``torchrun`` for tools/dist_train.sh, without ports open to other machines."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys

from ssl_ext.errors import UserError, run_tool
from ssl_ext.processes import ends_with_me

BACKENDS = ("GLOO", "NCCL")


def listen_on_loopback() -> None:
    """Let PyTorch's rendezvous at a loopback address listen on that address only.

    PyTorch's store listens on every interface of the machine, for any address, and any client can read and
    write its entries. The rendezvous of several nodes is not changed.
    """
    from torch.distributed import TCPStore
    from torch.distributed.elastic.rendezvous import static_tcp_rendezvous as theirs

    class LoopbackRendezvous(theirs.StaticTCPRendezvous):
        def next_rendezvous(self) -> theirs.RendezvousInfo:
            """Start listening on the first node, then call PyTorch's method."""
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
                    use_libuv=False,  # the libuv backend of PyTorch 2.6 does not accept a socket
                )
            return super().next_rendezvous()

    theirs.StaticTCPRendezvous = LoopbackRendezvous  # type: ignore[misc]


def check_port(address: str, port: int) -> None:
    """Raise UserError if the port is in use."""
    try:
        socket.create_server((address, port)).close()
    except OSError as error:
        raise UserError(
            f"Cannot listen at {address}:{port} ({os.strerror(error.errno or 0)}): set PORT to a free port."
        ) from error


def stay_on_loopback() -> None:
    """Let gloo and NCCL listen on the loopback interface, unless the environment sets another.

    By default they use the address of the host name, which may be public.
    """
    for _, name in socket.if_nameindex():
        if name.startswith("lo"):
            for backend in BACKENDS:
                os.environ.setdefault(f"{backend}_SOCKET_IFNAME", name)


def main() -> None:
    """Launch as ``torchrun`` does, with its arguments.

    Raises:
        SystemExit: With status 128 + signal, as shells have it, after a signal to this process or if one
            ended the first process that failed.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    args = run.parse_args(sys.argv[1:])
    if args.nnodes == "1":
        check_port(args.master_addr, args.master_port)
        stay_on_loopback()
    listen_on_loopback()
    # A killed launcher cannot end its processes, which would continue to write.
    os.environ.update(ends_with_me(signal.SIGKILL))
    try:
        run.main(sys.argv[1:])
    except SignalException as stop:
        if stop.sigval == signal.SIGINT:
            raise KeyboardInterrupt from stop
        raise SystemExit(128 + stop.sigval) from stop
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        if 0 <= code < 128:
            raise
        # Saved after a signal, or killed: no error of the program.
        sys.stderr.write(f"{error}\n")
        raise SystemExit(128 - code if code < 0 else code) from error


if __name__ == "__main__":
    run_tool(main)
