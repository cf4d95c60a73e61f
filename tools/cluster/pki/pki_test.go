package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/evenkeel/evenkeel/tools/cluster/pki"
)

const server = "https://192.0.2.1:6443"

func write(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	err := pki.Write(pki.Request{Dir: dir, Server: server, Addresses: []net.IP{net.ParseIP("192.0.2.1")}, Nodes: []string{"node1", "node2"}})
	if err != nil {
		t.Fatal(err)
	}

	return dir
}

func certificate(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no PEM: %s", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}

	return text
}

func TestTheAPIServerIsTrustedUnderItsAddressesOnly(t *testing.T) {
	dir := write(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, dir, "ca.crt"))
	c := certificate(t, read(t, dir, "apiserver.crt"))
	for _, name := range []string{"192.0.2.1", "kubernetes.default.svc"} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: "192.0.2.99"}); err == nil {
		t.Error("it is trusted under an address that is not its own")
	}
}

func TestEachIdentityIsWhoKubernetesRolesSayItIs(t *testing.T) {
	dir := write(t)
	ca := read(t, dir, "ca.crt")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for name, want := range map[string]struct{ user, group string }{
		"admin":              {"admin", "system:masters"},
		"controller-manager": {"system:kube-controller-manager", ""},
		"scheduler":          {"system:kube-scheduler", ""},
		"proxy":              {"system:kube-proxy", ""},
		"kubelet-node2":      {"system:node:node2", "system:nodes"},
	} {
		var config struct {
			Clusters []struct {
				Cluster struct {
					Server string
					CA     string `json:"certificate-authority-data"`
				}
			}
			Users []struct {
				User struct {
					Cert string `json:"client-certificate-data"`
					Key  string `json:"client-key-data"`
				}
			}
		}
		if err := yaml.Unmarshal(read(t, dir, name+".kubeconfig"), &config); err != nil {
			t.Fatal(err)
		}
		decode := func(s string) []byte {
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}

			return b
		}
		if got := config.Clusters[0].Cluster; got.Server != server || !slices.Equal(decode(got.CA), ca) {
			t.Errorf("%s: is for %s", name, got.Server)
		}
		cert := decode(config.Users[0].User.Cert)
		if _, err := tls.X509KeyPair(cert, decode(config.Users[0].User.Key)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c := certificate(t, cert)
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.Subject.CommonName != want.user || (want.group != "" && !slices.Equal(c.Subject.Organization, []string{want.group})) {
			t.Errorf("%s: is %s of %v", name, c.Subject.CommonName, c.Subject.Organization)
		}
	}
}

func TestNobodyElseCanReadTheKeys(t *testing.T) {
	dir := write(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", entry.Name(), info.Mode())
		}
	}
}
