# spack repo add slurm/spack && spack dev-build widebatch@main, in a checkout of widebatch

from spack.package import *


class Widebatch(CMakePackage):
    """Trains dense retrievers with contrastive batches over MPI, exactly as one
    process would on the whole batch (GradCache)."""

    # there is no archive to download: `spack dev-build` builds the checkout it stands in

    version("main")

    variant("onednn", default=True, description="bf16, and faster products on AVX-512")
    variant("native", default=True, description="for the processor of the target")

    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("openblas threads=openmp")
    depends_on("hdf5~mpi")
    depends_on("jansson")
    depends_on("libyaml")
    depends_on("utf8proc")
    depends_on("xxhash")
    depends_on("random123")
    depends_on("uthash")
    depends_on("onednn@2 cpu_runtime=omp", when="+onednn")
    depends_on("cmocka", type="build")

    generator("ninja")

    def cmake_args(self):
        return [
            # Spack's compiler wrapper knows the target; -march=native is not wanted twice
            self.define("WB_NATIVE", False),
            self.define_from_variant("WB_WITH_ONEDNN", "onednn"),
            self.define("WB_WERROR", False),
            self.define("BUILD_TESTING", self.run_tests),
        ]
