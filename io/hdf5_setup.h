/* HDF5 made fit for a service: no handlers at exit, no printing, no plugins, errors as wb_status.
 * HDF5 is not thread-safe here: all calls come from the thread that called wb_io_init. */
#ifndef WB_HDF5_SETUP_H
#define WB_HDF5_SETUP_H

#include "io_library.h"

#include <hdf5.h>

/* Local. Sets the error "PATH: WHAT: reason" with the innermost reason on HDF5's stack, and clears
 * that stack. Returns `code`. */
wb_status wb_hdf5_error(wb_status code, const char *path, const char *what);

/* Local. Closes a handle that is open (> 0), by its own close function, and sets it to 0. */
void wb_hdf5_close(hid_t *handle, herr_t (*close_handle)(hid_t));

/* Local. Properties of a file, group or dataset to be made (H5P_FILE_CREATE and so on): no times
 * are kept, so that the same contents are the same bytes. Closed by the caller. Errors as HDF5's.
 */
wb_status wb_hdf5_create_properties(hid_t *properties, hid_t of, const char *path);

/* For HDF5 calls that say failure with a negative number. Needs `status` and `done:`, as WB_TRY. */
#define WB_TRY_HDF5(call, code, path)                                                              \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            status = wb_hdf5_error((code), (path), #call);                                         \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#endif
