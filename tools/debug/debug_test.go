// Package debug_test tests the way into the debug shell, with another program in the place of kubectl, and that the image
// has what its README says. The image itself is not built here.
package debug_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kubectl writes down how it was called, and knows one client.
const kubectl = `#!/bin/sh
{ printf 'kubectl'; for word; do printf ' %s' "$word"; done; echo; } >> "$CALLS"
case "$*" in
*name=client*) [ "$2" = empty ] || printf 'client-1 client-2' ;;
*spec.containers*) printf 'main' ;;
*podIP*) printf '192.0.2.7' ;;
*nodeName*) printf 'node-1' ;;
esac
`

// shell is `make debug-shell` with settings. It returns the calls of kubectl, and what was said.
func shell(t *testing.T, settings ...string) (calls []string, said string, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(kubectl), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("make", append([]string{"-C", "../..", "--silent", "debug-shell", "IMAGE_TAG=v9"}, settings...)...)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CALLS="+filepath.Join(dir, "calls"), "MAKEFLAGS=")
	out, err := cmd.CombinedOutput()
	text, _ := os.ReadFile(filepath.Join(dir, "calls")) // without a call there is no file

	return strings.Split(strings.TrimSpace(string(text)), "\n"), string(out), err
}

func TestTheShellIsBesideTheClient(t *testing.T) {
	calls, said, err := shell(t, "NAMESPACE=dns-srv")
	want := []string{
		"kubectl --namespace dns-srv get pods --selector app.kubernetes.io/name=client --output jsonpath={.items[*].metadata.name}",
		"kubectl --namespace dns-srv get pod client-1 --output jsonpath={.spec.containers[0].name}",
		"kubectl --namespace dns-srv debug client-1 --stdin --tty --profile restricted --image ghcr.io/evenkeel/debug:v9 --target main",
	}
	if diff := cmp.Diff(want, calls); diff != "" || err != nil {
		t.Errorf("%v, %s (-want +got):\n%s", err, said, diff)
	}
}

func TestAPodOfOnesChoiceIsTaken(t *testing.T) {
	calls, said, err := shell(t, "NAMESPACE=dns-srv", "POD=rng-1")
	if last := calls[len(calls)-1]; !strings.Contains(last, " debug rng-1 ") || len(calls) != 2 || err != nil {
		t.Errorf("%v, %s, %q", err, said, calls)
	}
}

func TestTcpdumpRunsOnTheNode(t *testing.T) {
	calls, said, err := shell(t, "NAMESPACE=dns-srv", "CAPTURE=yes")
	want := "kubectl --namespace default debug node/node-1 --stdin --tty --profile netadmin --image ghcr.io/evenkeel/debug:v9"
	if last := calls[len(calls)-1]; last != want || err != nil || !strings.Contains(said, "tcpdump -n -i any host 192.0.2.7") {
		t.Errorf("%v, %s, %q, want %q", err, said, last, want)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	for want, settings := range map[string][]string{
		"NAMESPACE= is missing":                                nil,
		"there is no client in the namespace empty: give POD=": {"NAMESPACE=empty"},
	} {
		if _, said, err := shell(t, settings...); err == nil || !strings.Contains(said, want) {
			t.Errorf("%q: got %v and %q, want %q", settings, err, said, want)
		}
	}
}

func TestTheImageHasWhatTheReadmeSays(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}

		return string(text)
	}
	dockerfile, notice := read("Dockerfile"), read("NOTICE")
	rows := regexp.MustCompile("(?m)^\\| `[a-z0-9`, -]+ \\| ([a-z0-9-]+) \\|").FindAllStringSubmatch(read("README.md"), -1)
	if len(rows) < 5 {
		t.Errorf("README.md has a table of %d tools", len(rows))
	}
	for _, row := range rows {
		if from := row[1]; !strings.Contains(dockerfile, from) || !strings.Contains(notice, "\n  "+from+" ") {
			t.Errorf("README.md has a tool of %s, the Dockerfile or the NOTICE has not", from)
		}
	}
}
