package endpointslice

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// sizeLimit is what a stripped program with gRPC and the resolver may take, in bytes. Kubernetes' clientset alone would
// bring it to 36 MB.
const sizeLimit = 23_000_000

func TestAProgramWithTheResolverStaysSmall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", file, "./testdata/size")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB", float64(info.Size())/1e6)
	if info.Size() > sizeLimit {
		t.Errorf("%d bytes, which is more than %d", info.Size(), sizeLimit)
	}
}
