//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "cluster: needs Linux: it is made of Linux namespaces")
	os.Exit(1)
}
