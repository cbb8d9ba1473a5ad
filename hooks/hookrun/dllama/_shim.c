/* Preloaded into distributed-llama: writes down when its timer asks for the time, and what goes over its sockets.
 *
 * The program's executor asks std::chrono::system_clock for the time once before a forward pass and twice behind each step, on
 * whichever thread finishes the step last. Each such call is stamped in CLOCK_MONOTONIC_RAW into a ring in shared memory, and so
 * is each transfer over a socket and each flush of the standard output, which the program makes behind every token it prints.
 * The program computes what it always computes; nothing here waits, allocates or prints.
 *
 * Shared memory, made by hookrun, its path in HOOKRUN_DLLAMA_SHIM (all little-endian 64-bit words unless noted):
 *   header of 8 words: magic, stamps in the ring, marks in the ring, stamps written, marks written, 3 unused
 *   stamps: one word each, nanoseconds
 *   marks:  4 words each: begin_ns, end_ns, value, then kind (8 bits), socket (24 bits) and bytes (32 bits)
 *   value: for a flush the number of stamps written by then, for 8 bytes received (the root's control packet) those bytes
 * Both rings overwrite their oldest entries; the reader sees from the counts what it missed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x6c6c616d61736869ull
#define HEADER_WORDS 8
#define CONTROL_BYTES 8

enum mark { FLUSH = 1, SENT = 2, RECEIVED = 3 };

struct header {
    uint64_t magic, stamp_capacity, mark_capacity, stamps, marks, unused[3];
};

struct mark_entry {
    int64_t begin_ns, end_ns;
    uint64_t value;
    uint32_t kind_and_socket, bytes;
};

static struct header *shared;
static int64_t utc_offset_ns; /* CLOCK_REALTIME less CLOCK_MONOTONIC_RAW */
static int64_t *stamp_ring;
static struct mark_entry *mark_ring;
static int (*real_fflush)(FILE *);
static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_recv)(int, void *, size_t, int);

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void note(enum mark kind, int64_t begin_ns, uint64_t value, int socket, size_t bytes)
{
    int saved = errno;
    uint64_t at;
    if (shared == NULL)
        return;
    at = __atomic_fetch_add(&shared->marks, 1, __ATOMIC_RELAXED);
    mark_ring[at % shared->mark_capacity] = (struct mark_entry){
        .begin_ns = begin_ns,
        .end_ns = nanoseconds(CLOCK_MONOTONIC_RAW),
        .value = value,
        .kind_and_socket = (uint32_t)kind | (uint32_t)socket << 8,
        .bytes = (uint32_t)bytes,
    };
    errno = saved;
}

/* std::chrono::_V2::system_clock::now(): nanoseconds since 1970, in a register. Only one thread at a time calls it.
 *
 * One clock is read, as without the shim: what is returned is the stamp, set to UTC when the program started.
 */
int64_t _ZNSt6chrono3_V212system_clock3nowEv(void)
{
    int64_t now_ns;
    uint64_t at;
    if (shared == NULL)
        return nanoseconds(CLOCK_REALTIME);
    now_ns = nanoseconds(CLOCK_MONOTONIC_RAW);
    at = __atomic_load_n(&shared->stamps, __ATOMIC_RELAXED);
    stamp_ring[at % shared->stamp_capacity] = now_ns;
    __atomic_store_n(&shared->stamps, at + 1, __ATOMIC_RELEASE);
    return now_ns + utc_offset_ns;
}

int fflush(FILE *stream)
{
    int64_t begin_ns = nanoseconds(CLOCK_MONOTONIC_RAW);
    if (real_fflush == NULL)
        real_fflush = (int (*)(FILE *))dlsym(RTLD_NEXT, "fflush");
    if (stream == stdout && shared != NULL)
        note(FLUSH, begin_ns, __atomic_load_n(&shared->stamps, __ATOMIC_ACQUIRE), 0, 0);
    return real_fflush(stream);
}

ssize_t send(int socket, const void *data, size_t size, int flags)
{
    int64_t begin_ns = nanoseconds(CLOCK_MONOTONIC_RAW);
    ssize_t sent;
    if (real_send == NULL)
        real_send = (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
    sent = real_send(socket, data, size, flags);
    if (sent > 0)
        note(SENT, begin_ns, 0, socket, (size_t)sent);
    return sent;
}

ssize_t recv(int socket, void *data, size_t size, int flags)
{
    int64_t begin_ns = nanoseconds(CLOCK_MONOTONIC_RAW);
    uint64_t control = 0;
    ssize_t received;
    if (real_recv == NULL)
        real_recv = (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
    received = real_recv(socket, data, size, flags);
    if (received == CONTROL_BYTES)
        memcpy(&control, data, CONTROL_BYTES);
    if (received > 0)
        note(RECEIVED, begin_ns, control, socket, (size_t)received);
    return received;
}

__attribute__((constructor)) static void open_shared(void)
{
    const char *path = getenv("HOOKRUN_DLLAMA_SHIM");
    struct stat info;
    struct header *mapped;
    int file;
    if (path == NULL || (file = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return;
    if (fstat(file, &info) < 0 || (size_t)info.st_size < sizeof(struct header)) {
        close(file);
        return;
    }
    mapped = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED || mapped->magic != MAGIC)
        return;
    stamp_ring = (int64_t *)mapped + HEADER_WORDS;
    mark_ring = (struct mark_entry *)(stamp_ring + mapped->stamp_capacity);
    utc_offset_ns = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_MONOTONIC_RAW);
    shared = mapped;
    /* What the program prints then arrives line by line, also where it never flushes (workers). */
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
}
