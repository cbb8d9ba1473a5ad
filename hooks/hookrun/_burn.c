/* Keeps cores busy until a given instant: the loud half of a load pattern. Runs without the interpreter's lock.
 *
 * Each thread multiplies and adds in eight independent chains, which fills a core's arithmetic units, and looks at the clock
 * every few microseconds.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define MOST_THREADS 256
#define CHAINS 8
#define STEPS_PER_LOOK 2048

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *spin(void *argument)
{
    int64_t until_ns = *(const int64_t *)argument;
    volatile double kept[CHAINS]; /* volatile: the compiler must not find out that nobody wants the result */
    double x[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        x[i] = 1.0 + i;
    while (now_ns() < until_ns)
        for (int step = 0; step < STEPS_PER_LOOK; step++)
            for (int i = 0; i < CHAINS; i++)
                x[i] = x[i] * 0.999999 + 1e-6;
    for (int i = 0; i < CHAINS; i++)
        kept[i] = x[i];
    (void)kept;
    return NULL;
}

/* Spins on this thread and on `threads - 1` others; returns how many of all could be started. */
static int spin_on(int threads, int64_t until_ns)
{
    pthread_t others[MOST_THREADS];
    int started = 0;
    while (started < threads - 1 && pthread_create(&others[started], NULL, spin, &until_ns) == 0)
        started++;
    spin(&until_ns);
    for (int i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    return started + 1;
}

static PyObject *burn(PyObject *Py_UNUSED(module), PyObject *args)
{
    int threads, started;
    long long until_ns;
    if (!PyArg_ParseTuple(args, "iL", &threads, &until_ns))
        return NULL;
    if (threads < 1 || threads > MOST_THREADS)
        return PyErr_Format(PyExc_ValueError, "%d threads; 1 to %d can burn", threads, MOST_THREADS);
    Py_BEGIN_ALLOW_THREADS
    started = spin_on(threads, until_ns);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(started);
}

static PyMethodDef methods[] = {
    {"burn", burn, METH_VARARGS, "burn(threads, until_ns) -> threads that ran: busy until CLOCK_MONOTONIC_RAW reaches until_ns."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hookrun._burn",
    .m_doc = "Keeps cores busy.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__burn(void)
{
    return PyModuleDef_Init(&definition);
}
