/* Keeps the modules that MPI loads in memory until the process ends, so that the leak checker can
 * name them, and tests/lsan.supp can tell their leaks from ours. */
int dlclose(void *handle);

int dlclose(void *handle) {
    (void)handle;
    return 0;
}
