package apiwatch

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

func readToken(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", pathError(err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%q does not hold a bearer token: one line without spaces", file)
	}

	return token, nil
}

// certificates reads the certificates in a file; nil, the system's, without one.
func certificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // crypto/tls takes nil for the system's
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, pathError(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%q holds no certificate: give a file in PEM", file)
	}

	return pool, nil
}

// pathError says which file could not be read, and why.
func pathError(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%q cannot be read: %w", p.Path, p.Err)
	}

	return err
}
