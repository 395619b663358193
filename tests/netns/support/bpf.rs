//! The bpf(2) system call for test programs in Python.

/// Defines `libc` and `bpf(command, fields)`, which gives the result or raises.
pub const BPF: &str = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
NUMBER = {'x86_64': 321, 'aarch64': 280}[os.uname().machine]
def bpf(command, fields):
    attribute = ctypes.create_string_buffer(fields.ljust(128, b'\\0'), 128)
    result = libc.syscall(NUMBER, command, attribute, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
";
