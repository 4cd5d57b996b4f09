-- Module file for Lmod: put it into MODULEPATH as widebatch/0.1.0.lua, with `root` as the prefix of
--   cmake --install build/release --prefix /opt/widebatch/0.1.0
help([[
widebatch trains dense retrievers with contrastive batches over MPI.

  widebatch --help                              commands and exit codes
  widebatch submit CONFIG.yaml --nodes 4        a Slurm job that requeues and continues
]])
whatis("Name: widebatch")
whatis("Version: 0.1.0")
whatis("Description: contrastive training of dense retrievers over MPI")

local root = "/opt/widebatch/0.1.0"

conflict("widebatch")
-- the modules that it was built with, by their names at your site
-- depends_on("openmpi", "openblas", "hdf5")
prepend_path("PATH", pathJoin(root, "bin"))
