//! What a process that serves strangers can't do any more, whatever is done to it: change a file or memory that it only reads,
//! touch another process, start a program.
//!
//! A list of what is refused, not of what is allowed (seccomp(2), Linux): a reader's descriptor of a ring is read-only, and
//! the memory behind it belongs to the user who runs the server, so that without this a process could open it anew for
//! writing by way of /proc. The log is still opened, for appending only; nothing that would make an appended file
//! writable elsewhere (`F_SETFL`, `fallocate`, `pwritev2`) is allowed.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// Why a process is not confined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// There is no filter for this processor, or the kernel takes none.
    #[error("{0}")]
    Seccomp(#[from] seccompiler::Error),
    /// The filter can't be made.
    #[error("{0}")]
    Backend(#[from] seccompiler::BackendError),
}

/// System calls that a process which only reads rings and writes to sockets never makes.
const NEVER: &[libc::c_long] = &[
    // Programs and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_kcmp,
    // What does any of this by another way.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_open_by_handle_at,
    // Files.
    libc::SYS_openat2,
    libc::SYS_fallocate,
    libc::SYS_pwritev2,
    libc::SYS_truncate,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mknodat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    // The system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_add_key,
    libc::SYS_keyctl,
];

/// The same by their older names, where the processor has them.
#[cfg(target_arch = "x86_64")]
const NEVER_BY_OLD_NAMES: &[libc::c_long] = &[
    libc::SYS_creat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fork,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_BY_OLD_NAMES: &[libc::c_long] = &[];

/// Removing files. A debug build whose crash points are armed removes what armed them.
#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
const REMOVES: &[libc::c_long] = &[libc::SYS_unlink, libc::SYS_unlinkat];
#[cfg(all(not(target_arch = "x86_64"), not(debug_assertions)))]
const REMOVES: &[libc::c_long] = &[libc::SYS_unlinkat];
#[cfg(debug_assertions)]
const REMOVES: &[libc::c_long] = &[];

/// Where a system call has the flags with which a file is opened.
#[cfg(target_arch = "x86_64")]
const OPENS: &[(libc::c_long, u8)] = &[(libc::SYS_open, 1), (libc::SYS_openat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[(libc::c_long, u8)] = &[(libc::SYS_openat, 2)];

/// Confines all threads of this process for good. A refused system call fails with EPERM.
///
/// # Errors
/// [`SandboxError`] where there is no filter for this processor, or the kernel takes none; nothing is confined then.
pub(crate) fn confine() -> Result<(), SandboxError> {
    let program = program()?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}

#[allow(clippy::useless_conversion, reason = "c_long has 32 bits on processors of 32 bits")]
fn program() -> Result<BpfProgram, SandboxError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = NEVER
        .iter()
        .chain(NEVER_BY_OLD_NAMES)
        .chain(REMOVES)
        .map(|call| (i64::from(*call), Vec::new()))
        .collect();
    for (call, argument) in OPENS {
        rules.insert(i64::from(*call), writing(*argument)?);
    }
    // Only this process may be signalled (abort(3) does so).
    let own = u64::from(std::process::id());
    let other = |argument| condition(argument, SeccompCmpOp::Ne, own);
    rules.insert(libc::SYS_kill, vec![SeccompRule::new(vec![other(0)?])?]);
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![other(0)?])?]);
    let not_self = condition(0, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![other(0)?, not_self])?]);
    let set_flags = condition(1, SeccompCmpOp::Eq, u64::from(libc::F_SETFL.unsigned_abs()))?;
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(vec![set_flags])?]);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let listed: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse.clone(), arch)?.try_into()?;
    Ok(OTHER_NUMBERS.map_or_else(Vec::new, |bit| without(bit, refuse)).into_iter().chain(listed).collect())
}

/// The bit of the numbers by which a kernel for x86-64 takes all system calls once more, with arguments of 32 bits (x32). Nothing
/// here is built for that, and what is listed by its number is not refused by the other one.
const OTHER_NUMBERS: Option<u32> = if cfg!(target_arch = "x86_64") { Some(0x4000_0000) } else { None };

/// The beginning of a program that refuses all numbers with this bit (bpf(2): load, jump if set, return).
fn without(bit: u32, refuse: SeccompAction) -> BpfProgram {
    const NUMBER_AT: u32 = 0;
    let statement = |code: u32, jt, jf, k| sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k };
    vec![
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER_AT),
        statement(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, bit),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, u32::from(refuse)),
    ]
}

/// When opening is refused: for reading and writing, or for writing at any place but the end.
fn writing(argument: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let has = |mask: i32, value: i32| {
        let op = SeccompCmpOp::MaskedEq(u64::from(mask.unsigned_abs()));
        condition(argument, op, u64::from(value.unsigned_abs()))
    };
    Ok(vec![
        SeccompRule::new(vec![has(libc::O_ACCMODE, libc::O_RDWR)?])?,
        // Neither: what the kernel takes for a descriptor without rights, and for ioctl.
        SeccompRule::new(vec![has(libc::O_ACCMODE, libc::O_ACCMODE)?])?,
        SeccompRule::new(vec![has(libc::O_ACCMODE | libc::O_APPEND, libc::O_WRONLY)?])?,
        SeccompRule::new(vec![has(libc::O_TRUNC, libc::O_TRUNC)?])?,
    ])
}

fn condition(
    argument: u8,
    op: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
}
