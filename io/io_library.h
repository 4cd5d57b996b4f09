/* The beginning of io, for callers that know nothing of HDF5. */
#ifndef WB_IO_LIBRARY_H
#define WB_IO_LIBRARY_H

#include "status.h"

/* Local. Once, before anything else in io: prepares HDF5 and ignores SIGXFSZ and SIGPIPE, so that a
 * full disk is an error and not the end of the process. Error: WB_ERR_INTERNAL. */
wb_status wb_io_init(void);

/* Local. HDF5's version, as "1.10.8". */
const char *wb_io_hdf5_version(void);

#endif
