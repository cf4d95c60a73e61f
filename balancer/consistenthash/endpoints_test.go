package consistenthash_test

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/resolver"
)

func endpointsAt(addresses ...string) []resolver.Endpoint {
	endpoints := make([]resolver.Endpoint, 0, len(addresses))
	for _, address := range addresses {
		endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address}}})
	}
	return endpoints
}

// addresses are n that a cluster might give to pods.
func addresses(n int) []string {
	list := make([]string, 0, n)
	for i := range n {
		list = append(list, fmt.Sprintf("10.244.%d.%d:8081", i/250, i%250))
	}
	return list
}

func keys(n int) []string {
	list := make([]string, 0, n)
	for i := range n {
		list = append(list, fmt.Sprintf("user-%d", i))
	}
	return list
}

var errRefused = errors.New("connection refused by the test")
