// A stand-in for distributed-llama's program, written for these tests: it prints the same bytes, asks the same clock as often, and
// exchanges messages of the same sizes in the same order. It computes nothing; a step lasts some microseconds.
//
// What it is told by its environment: FAKE_FREEZE=n (a worker stops answering in forward pass n), FAKE_STEPS=n (steps of a pass),
// FAKE_PIECES (pieces of the tokens, separated by |), FAKE_SHORT=1 (the program ends with an error after three tokens).
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

using Clock = std::chrono::system_clock;

struct Timer {
    Clock::time_point start;
    void reset() { start = Clock::now(); }
    unsigned elapsed_us() { return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count(); }
};

struct Shape {
    int dim = 64, layers = 2, vocabulary = 128;
};

struct Control {
    uint32_t position, batch;
};

static void write_all(int socket, const void *data, size_t size)
{
    for (const char *at = (const char *)data; size > 0;) {
        ssize_t sent = send(socket, at, size > 4096 ? 4096 : size, 0);
        if (sent <= 0)
            throw std::string("Connection reset by peer");
        at += sent;
        size -= sent;
    }
}

static void read_all(int socket, void *data, size_t size)
{
    for (char *at = (char *)data; size > 0;) {
        ssize_t received = recv(socket, at, size > 4096 ? 4096 : size, 0);
        if (received <= 0)
            throw std::string("Connection reset by peer");
        at += received;
        size -= received;
    }
}

static void busy(int us)
{
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < us);
}

static Shape read_shape(const char *path)
{
    Shape shape;
    std::ifstream file(path, std::ios::binary);
    int32_t start[2] = {0, 8};
    file.read((char *)start, 8);
    for (int at = 8; at < start[1]; at += 8) {
        int32_t pair[2];
        file.read((char *)pair, 8);
        if (pair[0] == 2)
            shape.dim = pair[1];
        if (pair[0] == 4)
            shape.layers = pair[1];
        if (pair[0] == 9)
            shape.vocabulary = pair[1];
    }
    return shape;
}

static size_t slice_bytes(const Shape &shape, int batch) { return (size_t)shape.dim * 34 / 32 * batch; }

struct Root {
    Shape shape;
    std::vector<int> sockets;
    Timer timer;
    unsigned exec_us = 0, sync_us = 0;
    size_t sent = 0, received = 0;
    int yes = 1;

    void op(int count)
    {
        for (int i = 0; i < count; i++) {
            busy(3);
            exec_us += timer.elapsed_us();
            timer.reset();
        }
    }

    void sync(size_t out, size_t in)
    {
        if (sockets.empty())
            return;
        std::vector<char> buffer(out > in ? out : in);
        for (int socket : sockets)
            if (out)
                write_all(socket, buffer.data(), out), sent += out;
        for (int socket : sockets)
            if (in)
                read_all(socket, buffer.data(), in), received += in;
        sync_us += timer.elapsed_us();
        timer.reset();
    }

    void forward(uint32_t position, uint32_t batch)
    {
        const char *steps = getenv("FAKE_STEPS");
        Control control = {position, batch};
        size_t slice = slice_bytes(shape, batch);
        for (int socket : sockets)
            write_all(socket, &control, sizeof(control)), sent += sizeof(control);
        exec_us = sync_us = 0;
        timer.reset();
        if (steps != nullptr) {
            op(atoi(steps));
            return;
        }
        op(1);
        sync((size_t)4 * shape.dim * batch, 0);
        for (int layer = 0; layer < shape.layers; layer++) {
            op(15);
            sync(slice, slice);
            op(11);
            sync(slice, slice);
        }
        op(6);
        sync(0, (size_t)4 * shape.vocabulary / (sockets.size() + 1));
    }
};

static std::vector<std::string> pieces()
{
    std::vector<std::string> found;
    std::string text = getenv("FAKE_PIECES") ? getenv("FAKE_PIECES") : " the| cat|\n|~|\n\nsat";
    for (size_t at = 0; at != std::string::npos;) {
        size_t end = text.find('|', at);
        found.push_back(text.substr(at, end == std::string::npos ? end : end - at));
        at = end == std::string::npos ? end : end + 1;
    }
    return found;
}

static int inference(int argc, char **argv)
{
    Root root;
    const char *prompt = "";
    int steps = 0;
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--model"))
            root.shape = read_shape(argv[++i]);
        else if (!strcmp(argv[i], "--prompt"))
            prompt = argv[++i];
        else if (!strcmp(argv[i], "--steps"))
            steps = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--workers"))
            for (; i + 1 < argc && argv[i + 1][0] != '-'; i++) {
                struct sockaddr_in address = {};
                address.sin_family = AF_INET;
                address.sin_port = htons(atoi(strchr(argv[i + 1], ':') + 1));
                address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                int connection = socket(AF_INET, SOCK_STREAM, 0);
                printf("⭕ Socket[%zu]: connecting to %s worker\n", root.sockets.size(), argv[i + 1]);
                if (connect(connection, (struct sockaddr *)&address, sizeof(address)) < 0) {
                    printf("🚨 Critical error: Cannot connect to %s (Connection refused)\n", argv[i + 1]);
                    return 1;
                }
                printf("⭕ Socket[%zu]: connected\n", root.sockets.size());
                setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &root.yes, sizeof(root.yes));
                root.sockets.push_back(connection);
            }
    }
    printf("💡 Arch: Llama\n💡 Dim: %d\n💡 nLayers: %d\n", root.shape.dim, root.shape.layers);
    printf("🧠 CPU: avx2\n💿 Loading weights...\n💿 Weights loaded\n");
    int tokens = 1, position = 0, batches = 0;
    for (const char *at = prompt; *at; at++)
        tokens += *at == ' ';
    printf("%s\n", prompt);
    for (int left; (left = tokens - 1 - position) > 0; batches++) {
        int batch = left < 32 ? left : 32;
        root.forward(position, batch);
        position += batch;
        printf("🔷️ Eval%5u ms Sync%5u ms | Sent%6zu kB Recv%6zu kB | (%d tokens)\n", root.exec_us / 1000, root.sync_us / 1000,
               root.sent / 1024, root.received / 1024, batch);
    }
    fflush(stdout);
    std::vector<std::string> texts = pieces();
    int first = position;
    unsigned total_us = 0;
    for (; position < steps; position++) {
        root.forward(position, 1);
        total_us += root.exec_us + root.sync_us;
        printf("🔶 Pred%5u ms Sync%5u ms | Sent%6zu kB Recv%6zu kB | %s\n", root.exec_us / 1000, root.sync_us / 1000,
               root.sent / 1024, root.received / 1024, texts[(position - first) % texts.size()].c_str());
        fflush(stdout);
        if (getenv("FAKE_SHORT") && position - first == 2) {
            printf("🚨 Execution error: Connection reset by peer\n🚨 Critical error: Execution failed in one of the threads\n");
            return 1;
        }
    }
    double zero = 0, none = -(zero / zero);
    printf("\nEvaluation\n   nBatches: 32\n    nTokens: %d\n   tokens/s: %3.2f (%3.2f ms/tok)\n", first,
           first ? 1.0 : none, first ? 1.0 : none);
    printf("Prediction\n    nTokens: %d\n   tokens/s: %3.2f (%3.2f ms/tok)\n", position - first, 1e6 * (position - first) / total_us,
           total_us / 1e3 / (position - first));
    Control stop = {(uint32_t)position - 1, 0};
    for (int socket : root.sockets)
        write_all(socket, &stop, sizeof(stop));
    printf("⭕ Network is closed\n");
    return 0;
}

static int worker(int argc, char **argv)
{
    Shape shape;
    int port = 9990, forwards = 0, freeze = getenv("FAKE_FREEZE") ? atoi(getenv("FAKE_FREEZE")) : -1;
    for (int i = 2; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "--port"))
            port = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--fake-model"))  // the real one is told its shape by the root
            shape = read_shape(argv[i + 1]);
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 1) < 0)
        return 1;
    for (;;) {
        printf("Listening on 127.0.0.1:%d...\n", port);
        int root = accept(listener, nullptr, nullptr);
        printf("⭕ The root node has connected\n");
        setsockopt(root, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        try {
            for (Control control;;) {
                std::vector<char> buffer(1 << 20);
                read_all(root, &control, sizeof(control));
                if (control.batch == 0)
                    break;
                if (forwards++ == freeze)
                    pause();
                size_t slice = slice_bytes(shape, control.batch);
                read_all(root, buffer.data(), (size_t)4 * shape.dim * control.batch);
                for (int half = 0; half < 2 * shape.layers; half++) {
                    busy(30);
                    write_all(root, buffer.data(), slice);
                    read_all(root, buffer.data(), slice);
                }
                busy(10);
                write_all(root, buffer.data(), (size_t)4 * shape.vocabulary / 2);
            }
            printf("🛑 Stop signal\n");
        } catch (const std::string &error) {
            printf("🚨 Network error: %s\n", error.c_str());
        }
        close(root);
    }
}

int main(int argc, char **argv)
{
    std::string mode = argc > 1 ? argv[1] : "";
    try {
        if (mode == "inference")
            return inference(argc, argv);
        if (mode == "worker")
            return worker(argc, argv);
        printf("🚨 Critical error: Unsupported mode\n");
    } catch (const std::string &error) {
        printf("🚨 Execution error: %s\n🚨 Critical error: Execution failed in one of the threads\n", error.c_str());
    }
    return 1;
}
