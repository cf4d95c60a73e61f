package consistenthash_test

import (
	"testing"

	"go.uber.org/goleak"

	_ "github.com/evenkeel/evenkeel/balancer/consistenthash"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}
