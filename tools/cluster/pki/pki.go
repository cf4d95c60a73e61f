// Package pki makes the keys that the parts of a cluster know one another by: one
// certificate authority, the API server's certificates, the key that signs the
// tokens of service accounts, and a kubeconfig for each identity. All of it is made
// anew for each cluster and goes away with it.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime of every certificate. A cluster is for an afternoon.
const lifetime = 365 * 24 * time.Hour

// Request says whom keys are made for.
type Request struct {
	// Dir is the folder that everything is written to.
	Dir string
	// Server is the URL of the API server in the kubeconfigs.
	Server string
	// Addresses are those that the API server is reached at.
	Addresses []net.IP
	// Nodes are the names of the nodes.
	Nodes []string
}

// Write makes the keys and writes them. Only their owner can read the folder.
func Write(r Request) error {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(r.Dir)
	if err != nil {
		return err
	}

	server := identity("kube-apiserver")
	server.IPAddresses = r.Addresses
	server.DNSNames = []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local",
	}
	if _, _, err := ca.issue("apiserver", server); err != nil {
		return err
	}
	// What the API server shows to a kubelet, for logs, exec and port-forward.
	if _, _, err := ca.issue("apiserver-kubelet-client", identity("kube-apiserver-kubelet-client", "system:masters")); err != nil {
		return err
	}
	if err := serviceAccountKey(r.Dir); err != nil {
		return err
	}

	// The names are those that Kubernetes' own default roles are bound to, so that
	// nothing needs more than it would have elsewhere.
	identities := map[string]*x509.Certificate{
		"admin":              identity("admin", "system:masters"),
		"controller-manager": identity("system:kube-controller-manager"),
		"scheduler":          identity("system:kube-scheduler"),
		"proxy":              identity("system:kube-proxy"),
	}
	for _, node := range r.Nodes {
		identities["kubelet-"+node] = identity("system:node:"+node, "system:nodes")
	}
	for name, template := range identities {
		if err := ca.kubeconfig(name, r.Server, template); err != nil {
			return err
		}
	}

	return nil
}

// authority signs certificates.
type authority struct {
	dir  string
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

func newAuthority(dir string) (*authority, error) {
	key, _, err := newKey(dir, "ca")
	if err != nil {
		return nil, err
	}
	cert := identity("evenkeel-cluster")
	cert.IsCA, cert.BasicConstraintsValid = true, true
	cert.KeyUsage |= x509.KeyUsageCertSign
	cert.ExtKeyUsage = nil
	ca := &authority{dir: dir, cert: cert, key: key}
	ca.pem, err = ca.sign("ca", cert, key)

	return ca, err
}

// sign writes a certificate for a key as NAME.crt.
func (a *authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", name, err)
	}

	return writePEM(filepath.Join(a.dir, name+".crt"), "CERTIFICATE", der)
}

// issue makes a key and a certificate for it, NAME.key and NAME.crt.
func (a *authority) issue(name string, template *x509.Certificate) (cert, key []byte, err error) {
	private, key, err := newKey(a.dir, name)
	if err != nil {
		return nil, nil, err
	}
	cert, err = a.sign(name, template, private)

	return cert, key, err
}

// kubeconfig makes an identity and writes NAME.kubeconfig, which holds all it needs.
func (a *authority) kubeconfig(name, server string, template *x509.Certificate) error {
	cert, key, err := a.issue(name, template)
	if err != nil {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: evenkeel
clusters:
- name: evenkeel
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: %s
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: evenkeel
  context: {cluster: evenkeel, user: %s}
`, server, b64(a.pem), name, b64(cert), b64(key), name)

	return os.WriteFile(filepath.Join(a.dir, name+".kubeconfig"), []byte(text), 0o600)
}

// identity is a certificate for NAME, in groups: in Kubernetes a user's name is the
// common name and its groups are the organisations.
func identity(name string, groups ...string) *x509.Certificate {
	now := time.Now()

	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: groups},
		// From an hour ago, for a clock that is set back.
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// serviceAccountKey writes sa.key, which signs tokens, and sa.pub, which proves them.
func serviceAccountKey(dir string) error {
	key, _, err := newKey(dir, "sa")
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	_, err = writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", der)

	return err
}

func newKey(dir, name string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	text, err := writePEM(filepath.Join(dir, name+".key"), "EC PRIVATE KEY", der)

	return key, text, err
}

func writePEM(path, kind string, der []byte) ([]byte, error) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})

	return text, os.WriteFile(path, text, 0o600)
}
