/* HDF5's global state. */
#include "hdf5_setup.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

wb_status wb_io_init(void) {
    wb_status status = WB_OK;
    WB_CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && signal(SIGPIPE, SIG_IGN) != SIG_ERR,
             WB_ERR_INTERNAL, "cannot ignore SIGXFSZ and SIGPIPE");
    /* Says no only where the library is already open, as when this is called twice. */
    (void)H5dont_atexit();
    WB_TRY_HDF5(H5open(), WB_ERR_INTERNAL, "HDF5");
    WB_TRY_HDF5(H5Eset_auto2(H5E_DEFAULT, NULL, NULL), WB_ERR_INTERNAL, "HDF5");
    WB_TRY_HDF5(H5PLset_loading_state(0), WB_ERR_INTERNAL, "HDF5");
done:
    return status;
}

/* The walk goes from the innermost call outwards: the first entry is the reason. */
static herr_t keep_first(unsigned n, const H5E_error2_t *error, void *text) {
    if (n == 0) {
        (void)snprintf(text, 200, "%s", error->desc ? error->desc : "unknown");
    }
    return 0;
}

wb_status wb_hdf5_error(wb_status code, const char *path, const char *what) {
    char reason[200] = "no reason given";
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    (void)H5Eclear2(H5E_DEFAULT);
    const char *call = strstr(what, "H5");
    call = call ? call : what;
    return WB_ERROR(code, "%s: %.*s failed: %s", path, (int)strcspn(call, "("), call, reason);
}

const char *wb_io_hdf5_version(void) {
    static char text[32];
    unsigned major = 0, minor = 0, release = 0;
    (void)H5get_libversion(&major, &minor, &release);
    (void)snprintf(text, sizeof(text), "%u.%u.%u", major, minor, release);
    return text;
}

void wb_hdf5_close(hid_t *handle, herr_t (*close_handle)(hid_t)) {
    if (*handle > 0) {
        (void)close_handle(*handle);
    }
    *handle = 0;
}

wb_status wb_hdf5_create_properties(hid_t *properties, hid_t of, const char *path) {
    wb_status status = WB_OK;
    WB_TRY_HDF5(*properties = H5Pcreate(of), WB_ERR_MEMORY, path);
    WB_TRY_HDF5(H5Pset_obj_track_times(*properties, false), WB_ERR_INTERNAL, path);
done:
    return status;
}
