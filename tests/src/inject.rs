//! Makes another process do a system call: what somebody could do who has taken it over.

use std::fs;
use std::os::unix::fs::FileExt;

use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Bytes below the stack pointer that belong to the function that runs (System V ABI for x86-64, section 3.2.2).
const RED_ZONE: u64 = 128;

/// A process that stands still while we do as we like with it.
#[derive(Debug)]
pub struct Captive {
    pid: Pid,
}

impl Captive {
    /// Stops a process that waits in a system call; `None` where that is not allowed.
    #[must_use]
    pub fn take(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?);
        ptrace::attach(pid).ok()?;
        waitpid(pid, None).ok()?;
        Some(Self { pid })
    }

    /// Has the process call the kernel with `text` (zero-terminated by us) in its memory; `arguments` gets its address. Returns
    /// what the kernel says: an error is a negative number.
    ///
    /// # Panics
    /// When the process can't be handled.
    pub fn call(&self, number: i64, text: &str, arguments: impl Fn(u64) -> [u64; 4]) -> i64 {
        let before = ptrace::getregs(self.pid).unwrap();
        let memory =
            fs::OpenOptions::new().write(true).read(true).open(format!("/proc/{}/mem", self.pid)).unwrap();
        // It has come out of a system call, so that the instruction before this one calls the kernel.
        let instruction = before.rip - 2;
        let mut code = [0; 2];
        memory.read_exact_at(&mut code, instruction).unwrap();
        assert_eq!(code, [0x0f, 0x05], "the process does not wait in a system call");
        let place = (before.rsp - RED_ZONE - 4096) & !15;
        memory.write_all_at(&[text.as_bytes(), &[0]].concat(), place).unwrap();
        let mut registers = before;
        let [first, second, third, fourth] = arguments(place);
        registers.rax = number.cast_unsigned();
        // No system call is under way that would be begun again.
        registers.orig_rax = u64::MAX;
        registers.rip = instruction;
        (registers.rdi, registers.rsi, registers.rdx, registers.r10) = (first, second, third, fourth);
        ptrace::setregs(self.pid, registers).unwrap();
        ptrace::step(self.pid, None).unwrap();
        waitpid(self.pid, None).unwrap();
        let said = ptrace::getregs(self.pid).unwrap().rax.cast_signed();
        ptrace::setregs(self.pid, before).unwrap();
        said
    }
}

impl Drop for Captive {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.pid, None);
    }
}
