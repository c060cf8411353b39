/* A disk that fails on demand, put between a program and its C library by LD_PRELOAD.

   Only files whose names begin with "hub.db" are touched. What shall fail stands in a file that
   FAILING_DISK names, mapped by this library and by whoever plays the disk; the fields are those
   of struct control, in this order, eight bytes each.

   While keeps_undo is set, the bytes that a write replaces go to FILE.undo beside the control
   file until the next sync of that file, so that a power cut can be played: what was not synced
   may be gone. A sync that fails then loses what it should have brought to the disk, as real
   ones do. A record is offset, old file size, length, old bytes. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct control {
    int64_t room;           /* bytes by which files may still grow; negative: no limit */
    int64_t failing_syncs;  /* so many syncs fail with EIO */
    int64_t failing_writes; /* so many writes fail with EIO */
    int64_t keeps_undo;
    int64_t times_full;     /* what happened */
    int64_t syncs_failed;
    int64_t writes_failed;
    int64_t syncs;
    int64_t syncs_to_live; /* the process is killed when it comes to this sync; 0: never */
};

typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef int (*ftruncate_fn)(int, off_t);
typedef int (*sync_fn)(int);

static struct control *control;
static char control_path[PATH_MAX];
static pwrite_fn real_pwrite;
static write_fn real_write;
static ftruncate_fn real_ftruncate;
static sync_fn real_fsync, real_fdatasync;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void set_up(void) {
    real_pwrite = (pwrite_fn)dlsym(RTLD_NEXT, "pwrite64");
    real_write = (write_fn)dlsym(RTLD_NEXT, "write");
    real_ftruncate = (ftruncate_fn)dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = (sync_fn)dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (sync_fn)dlsym(RTLD_NEXT, "fdatasync");
    const char *path = getenv("FAILING_DISK");
    if (path == NULL || strlen(path) >= sizeof control_path)
        return;
    strcpy(control_path, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
}

/* The name of a file of the hub, or NULL; what is shared memory must have room, but never syncs. */
static const char *hub_file(int fd, char *buffer, int *is_shared_memory) {
    pthread_once(&once, set_up);
    if (control == NULL)
        return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length <= 0)
        return NULL;
    buffer[length] = 0;
    const char *name = strrchr(buffer, '/');
    if (name == NULL || strncmp(name + 1, "hub.db", 6) != 0 || strstr(name, ".lock") != NULL)
        return NULL;
    *is_shared_memory = strstr(name, "-shm") != NULL;
    return name + 1;
}

static int open_undo(const char *name, int flags) {
    char path[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s.%.255s.undo", control_path, name);
    return open(path, flags | O_CREAT | O_CLOEXEC, 0600);
}

/* Write down what stands from offset on before it is replaced, or cut off. */
static void remember(int fd, const char *name, int64_t offset, int64_t length) {
    struct stat now;
    if (fstat(fd, &now) != 0)
        return;
    int64_t old = now.st_size > offset ? now.st_size - offset : 0;
    if (old > length)
        old = length;
    int64_t size = 3 * (int64_t)sizeof(int64_t) + old;
    char *record = malloc(size);
    if (record == NULL)
        abort();
    int64_t head[3] = {offset, now.st_size, old};
    memcpy(record, head, sizeof head);
    if (old > 0 && pread(fd, record + sizeof head, old, offset) != old)
        abort();
    int undo = open_undo(name, O_WRONLY | O_APPEND);
    if (undo < 0 || real_write(undo, record, size) != size)
        abort();
    close(undo);
    free(record);
}

/* Put a file back to what its last sync left, newest write first. */
static void lose(int fd, const char *name) {
    int undo = open_undo(name, O_RDWR);
    struct stat now;
    if (undo < 0 || fstat(undo, &now) != 0)
        abort();
    char *records = malloc(now.st_size + 1);
    int64_t *starts = malloc(now.st_size + sizeof(int64_t));
    if (records == NULL || starts == NULL || read(undo, records, now.st_size) != now.st_size)
        abort();
    int64_t count = 0, place = 0, head[3];
    while (place < now.st_size) {
        starts[count++] = place;
        memcpy(head, records + place, sizeof head);
        place += sizeof head + head[2];
    }
    while (count-- > 0) {
        memcpy(head, records + starts[count], sizeof head);
        if (head[2] > 0 &&
            real_pwrite(fd, records + starts[count] + sizeof head, head[2], head[0]) != head[2])
            abort();
        if (real_ftruncate(fd, head[1]) != 0)
            abort();
    }
    if (real_ftruncate(undo, 0) != 0)
        abort();
    close(undo);
    free(records);
    free(starts);
}

static ssize_t write_at(int fd, const void *bytes, size_t count, off_t offset) {
    char path[PATH_MAX];
    int is_shared_memory = 0;
    const char *name = hub_file(fd, path, &is_shared_memory);
    if (name == NULL)
        return real_pwrite(fd, bytes, count, offset);
    pthread_mutex_lock(&mutex);
    ssize_t written = -1;
    int error = 0;
    struct stat now;
    if (!is_shared_memory && control->failing_writes > 0) {
        control->failing_writes--;
        control->writes_failed++;
        error = EIO;
    } else if (control->room >= 0 && fstat(fd, &now) == 0) {
        int64_t growth = (int64_t)offset + (int64_t)count - now.st_size;
        if (growth > control->room) {
            int64_t fits = (int64_t)count - (growth - control->room);
            growth = control->room;
            count = fits > 0 ? (size_t)fits : 0;
        }
        if (count == 0) {
            control->times_full++;
            error = ENOSPC;
        } else if (growth > 0) {
            control->room -= growth;
        }
    }
    if (error == 0) {
        if (control->keeps_undo && !is_shared_memory)
            remember(fd, name, offset, count);
        written = real_pwrite(fd, bytes, count, offset);
        error = errno;
    }
    pthread_mutex_unlock(&mutex);
    errno = error;
    return written;
}

static int truncate_to(int fd, off_t size) {
    char path[PATH_MAX];
    int is_shared_memory = 0;
    const char *name = hub_file(fd, path, &is_shared_memory);
    if (name == NULL || is_shared_memory || !control->keeps_undo)
        return real_ftruncate(fd, size);
    pthread_mutex_lock(&mutex);
    remember(fd, name, size, INT64_MAX);
    int result = real_ftruncate(fd, size);
    int error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

static int sync_file(int fd, sync_fn *real) {
    char path[PATH_MAX];
    int is_shared_memory = 0;
    const char *name = hub_file(fd, path, &is_shared_memory);
    if (name == NULL || is_shared_memory)
        return (*real)(fd);
    pthread_mutex_lock(&mutex);
    int result = -1, error = EIO;
    if (control->syncs_to_live > 0 && --control->syncs_to_live == 0)
        kill(getpid(), SIGKILL);
    if (control->failing_syncs > 0) {
        control->failing_syncs--;
        control->syncs_failed++;
        if (control->keeps_undo)
            lose(fd, name);
    } else {
        control->syncs++;
        result = (*real)(fd);
        error = errno;
        if (result == 0 && control->keeps_undo) {
            int undo = open_undo(name, O_WRONLY | O_TRUNC);
            if (undo >= 0)
                close(undo);
        }
    }
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return write_at(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
    return write_at(fd, bytes, count, offset);
}

/* Some builds of SQLite seek and write. */
ssize_t write(int fd, const void *bytes, size_t count) {
    char path[PATH_MAX];
    int is_shared_memory = 0;
    if (hub_file(fd, path, &is_shared_memory) == NULL)
        return real_write(fd, bytes, count);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t written = offset < 0 ? -1 : write_at(fd, bytes, count, offset);
    if (written > 0)
        lseek(fd, offset + written, SEEK_SET);
    return written;
}

int ftruncate(int fd, off_t size) { return truncate_to(fd, size); }

int ftruncate64(int fd, off_t size) { return truncate_to(fd, size); }

int fsync(int fd) {
    pthread_once(&once, set_up);
    return sync_file(fd, &real_fsync);
}

int fdatasync(int fd) {
    pthread_once(&once, set_up);
    return sync_file(fd, &real_fdatasync);
}
