package database

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/oschwald/maxminddb-golang/v2"
)

// checker walks a database as lookups will.
//
// The reader has a check of its own, Verify. It is not used because it asks for
// more than answers need: it refuses a file without a description, which all of
// ip-location-db are, or with values that nothing points to, which other
// writers leave. And it cannot tell whether a record has a field that we read. This
// one asks exactly what lookups rest on:
//
//   - every path through the search tree ends within the bits of an address;
//   - every record that a path ends at can be decoded, and is UTF-8, which
//     protobuf demands of strings;
//   - at least one of them has a field that we read.
//
// It visits every node and every record once: 30 ms for the default database,
// about a second for 60 MB of cities.
type checker struct {
	reader *maxminddb.Reader
	tree   []byte
	// nodes and nodeBytes are the count and the size of the tree's nodes.
	nodes, nodeBytes uint
	// data is the size of the data section.
	data uint
	// height is, for each node, the length of the longest path down from it; 0
	// when not yet visited.
	height []uint8
	// decoded has a bit for each offset in the data section.
	decoded []uint64
	records int
	known   bool
	into    decoder
}

// beingVisited marks a node on the path that is being walked.
const beingVisited = 255

// separator is the number of zero bytes between the tree and the data, by which
// pointers into the data are shifted.
const separator = 16

// check returns the number of different records.
func check(contents []byte, reader *maxminddb.Reader) (int, error) {
	m := reader.Metadata
	c := checker{
		reader:    reader,
		tree:      contents,
		nodes:     m.NodeCount,
		nodeBytes: m.RecordSize / 4,
		height:    make([]uint8, m.NodeCount),
	}
	// The reader has refused a tree that is larger than the file. The metadata that
	// follows the data makes this an upper bound; the reader knows the exact one.
	c.data = uint(len(contents)) - c.nodes*c.nodeBytes - separator
	c.decoded = make([]uint64, c.data/64+1)

	bits := uint(128)
	if m.IPVersion == 4 {
		bits = 32
	}
	height, err := c.visit(0, bits)
	switch {
	case err != nil:
		return 0, err
	case uint(height) > bits:
		return 0, fmt.Errorf("search tree: a path is longer than the %d bits of an address", bits)
	case !c.known:
		return 0, errors.New("no record has a country, a city, a position or an autonomous system")
	}

	return c.records, nil
}

// visit returns the length of the longest path down from a node. Bits are what
// is left of an address here; they bound the recursion.
func (c *checker) visit(node, bits uint) (uint8, error) {
	switch height := c.height[node]; {
	case height == beingVisited:
		return 0, fmt.Errorf("search tree: node %d is below itself", node)
	case height != 0:
		return height, nil
	case bits == 0:
		return 0, fmt.Errorf("search tree: the path to node %d is longer than an address", node)
	}
	c.height[node] = beingVisited
	longest := uint8(0)
	for _, child := range c.children(node) {
		switch {
		case child < c.nodes:
			height, err := c.visit(child, bits-1)
			if err != nil {
				return 0, err
			}
			longest = max(longest, height)
		case child > c.nodes:
			if err := c.record(child); err != nil {
				return 0, err
			}
		}
	}
	if longest >= 128 {
		return 0, fmt.Errorf("search tree: a path through node %d is longer than an address", node)
	}
	c.height[node] = longest + 1

	return longest + 1, nil
}

// children reads a node: two numbers of 24, 28 or 32 bits, of which the 28-bit ones
// share their middle byte (MaxMind DB format 2.0, "Node Layout").
func (c *checker) children(node uint) [2]uint {
	b := c.tree[node*c.nodeBytes:][:c.nodeBytes]
	three := func(b []byte) uint { return uint(b[0])<<16 | uint(b[1])<<8 | uint(b[2]) }
	switch c.nodeBytes {
	case 6:
		return [2]uint{three(b), three(b[3:])}
	case 7:
		return [2]uint{uint(b[3]>>4)<<24 | three(b), uint(b[3]&0xf)<<24 | three(b[4:])}
	default:
		return [2]uint{uint(b[0])<<24 | three(b[1:]), uint(b[4])<<24 | three(b[5:])}
	}
}

// record decodes what a pointer out of the tree leads to, unless it has been seen.
func (c *checker) record(pointer uint) error {
	if pointer < c.nodes+separator || pointer-c.nodes-separator >= c.data {
		return fmt.Errorf("search tree: pointer %d leads out of the data", pointer)
	}
	offset := pointer - c.nodes - separator
	if c.decoded[offset/64]&(1<<(offset%64)) != 0 {
		return nil
	}
	c.decoded[offset/64] |= 1 << (offset % 64)
	c.records++
	if err := c.reader.LookupOffset(uintptr(offset)).Decode(&c.into); err != nil {
		return fmt.Errorf("record at %d: %w", offset, err)
	}
	r := &c.into.record
	for _, text := range [...]string{
		r.CountryCode, r.CountryName, r.City, r.Subdivision, r.PostalCode, r.TimeZone, r.ASOrganization,
	} {
		if !utf8.ValidString(text) {
			return fmt.Errorf("record at %d: %q is not UTF-8", offset, text)
		}
	}
	c.known = c.known || *r != Record{}

	return nil
}
