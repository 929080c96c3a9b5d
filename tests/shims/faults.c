/* What goes wrong around a process that runs with this in LD_PRELOAD: writes below $SRS_SHIM/disk, and the time of day.
 *
 * $SRS_SHIM/write has one letter for what becomes of a write: q EDQUOT, i EIO, r EROFS, n EINTR each other time, s a part
 * only. $SRS_SHIM/clock has the seconds by which the time of day is moved. Files that are not there change nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Reads a file of $SRS_SHIM as text; the number of its bytes. */
static int said(const char *name, char *text, int room)
{
    const char *top = getenv("SRS_SHIM");
    char path[512];
    if (!top)
        return 0;
    snprintf(path, sizeof path, "%s/%s", top, name);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    long got = syscall(SYS_read, fd, text, room - 1);
    syscall(SYS_close, fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0 ? got : 0;
}

/* Whether a descriptor is a file on the disk that goes wrong. */
static int is_wrong(int fd)
{
    const char *top = getenv("SRS_SHIM");
    char link[64], path[512], disk[512];
    if (!top)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    snprintf(disk, sizeof disk, "%s/disk/", top);
    long got = readlink(link, path, sizeof path - 1);
    return got > 0 && !strncmp(path, disk, strlen(disk));
}

/* The fault for this write: an error number, 0 for none, -1 for a part of it only. */
static int fault(int fd)
{
    static __thread int turn;
    char text[16];
    int saved = errno, found = 0;
    if (said("write", text, sizeof text) && is_wrong(fd))
        found = text[0] == 'q'   ? EDQUOT
                : text[0] == 'i' ? EIO
                : text[0] == 'r' ? EROFS
                : text[0] == 'n' ? (++turn & 1 ? EINTR : 0)
                : text[0] == 's' ? -1
                                 : 0;
    errno = saved;
    return found;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    int wrong = fault(fd);
    if (wrong > 0) {
        errno = wrong;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, wrong < 0 && count > 1 ? count / 2 : count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
    int wrong = fault(fd);
    if (wrong > 0) {
        errno = wrong;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, wrong < 0 && count > 1 ? count / 2 : count, at);
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, which, now);
    char text[32];
    int saved = errno;
    if (!result && which == CLOCK_REALTIME && said("clock", text, sizeof text))
        now->tv_sec += atol(text);
    errno = saved;
    return result;
}
