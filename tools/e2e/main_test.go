//go:build e2e

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	contextName = flag.String("context", "", "the current context of kubectl, as a consent: these tests drain its nodes and stop its DNS")
	overlayList = flag.String("overlays", "", "overlays to test, separated by commas; default: all of kustomize/overlays")
	outFolder   = flag.String("out", "", "folder to write what was recorded into, as tables in Markdown")
)

// What every test uses.
var (
	root string                // of the source tree
	all  []string              // names of the overlays
	api  *kubernetes.Clientset // of the cluster

	dnsReplicas string // of CoreDNS, when the tests began
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests of overlays wait much more than they compute.
	if err := flag.Set("test.parallel", fmt.Sprint(atOnce)); err != nil {
		panic(err) // there is such a flag
	}
	if err := prepare(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
		os.Exit(2)
	}
	restoreOnInterrupt()
	code := m.Run()
	if err := gone(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
		code = 1
	}
	os.Exit(code)
}

// restoreOnInterrupt has Ctrl-C leave the cluster as it was: tests that are cut short do not clean up.
func restoreOnInterrupt() {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted.Done()
		stop() // a second one ends it at once
		fmt.Fprintln(os.Stderr, "e2e: interrupted: deleting the overlays; nodes and DNS are put back")
		ctx := context.Background()
		var errs []error
		for _, name := range all {
			err := api.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
			if !apierrors.IsNotFound(err) {
				errs = append(errs, err)
			}
		}
		nodes, err := workers(ctx)
		errs = append(errs, err)
		for _, node := range nodes {
			_, err := kubectl(ctx, "uncordon", node)
			errs = append(errs, err)
		}
		errs = append(errs, scaleDNS(ctx, dnsReplicas), gone(ctx))
		if err := errors.Join(errs...); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
		}
		os.Exit(130)
	}()
}

// gone waits until the namespaces of the overlays are gone: tests do not wait for what they delete.
func gone(ctx context.Context) error {
	return eventually(ctx, absent)
}

// absent is an error if the namespace of an overlay is there.
func absent(ctx context.Context) error {
	for _, name := range all {
		_, err := api.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return err
		default:
			return fmt.Errorf("namespace %s exists, and these tests apply the overlay of that name: kubectl delete -k kustomize/overlays/%s", name, name)
		}
	}

	return nil
}

func prepare(ctx context.Context) error {
	var err error
	if root, err = sourceTree(); err != nil {
		return err
	}
	if all, err = overlayNames(); err != nil {
		return err
	}
	if _, err := exec.LookPath("kubectl"); err != nil {
		return err
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	raw, err := rules.Load()
	if err != nil {
		return err
	}
	if *contextName == "" || raw.CurrentContext != *contextName {
		return fmt.Errorf("-context: %q, and kubectl's current context is %q: name that, if it is a cluster for tests", *contextName, raw.CurrentContext)
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, nil).ClientConfig()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 50, 100 // several overlays are asked about at once
	config.WarningHandler = rest.NoWarnings{}
	if api, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if err := absent(ctx); err != nil {
		return err
	}
	dnsReplicas, err = kubectl(ctx, "-n", "kube-system", "get", dns, "-o", "jsonpath={.spec.replicas}")

	return err
}

// sourceTree is the folder above that has the overlays in it.
func sourceTree() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "kustomize", "overlays")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", errors.New("no folder above has kustomize/overlays in it: run this in the source tree")
		}
	}
}

func overlayNames() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(root, "kustomize", "overlays"))
	if err != nil {
		return nil, err
	}
	var known []string
	for _, entry := range entries {
		known = append(known, entry.Name())
	}
	if *overlayList == "" {
		return known, nil
	}
	asked := strings.Split(*overlayList, ",")
	for _, name := range asked {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("-overlays: %q is not one of %s", name, strings.Join(known, ", "))
		}
	}

	return asked, nil
}
