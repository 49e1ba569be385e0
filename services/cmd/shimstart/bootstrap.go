package main

import (
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// params has the fields of containerd's BootstrapParams that are used here
// (containerd/api/runtime/bootstrap/v1/bootstrap.proto). It is decoded by hand, since the
// generated code registers its types at every start.
type params struct {
	id, namespace string
	address       string // of containerd's gRPC API
	socketDir     string
	level         int32 // of the log: 0 is info, negative is more verbose
	extensions    bool  // there are options, which are not decoded here
}

// parse decodes BootstrapParams. If it returns false, the shim has to decode them.
func parse(b []byte) (p params, ok bool) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return params{}, false
		}
		b = b[n:]
		if n = p.field(number, kind, b); n < 0 {
			return params{}, false
		}
		b = b[n:]
	}
	return p, p.id != "" && p.namespace != ""
}

// field decodes one field, and returns its length, negative if it is malformed.
func (p *params) field(number protowire.Number, kind protowire.Type, b []byte) int {
	switch {
	case number == 3 && kind == protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		p.level = int32(v)
		return n
	case number == 8:
		p.extensions = true
	}
	into := map[protowire.Number]*string{1: &p.id, 2: &p.namespace, 6: &p.address, 9: &p.socketDir}[number]
	if into == nil || kind != protowire.BytesType {
		return protowire.ConsumeFieldValue(number, kind, b)
	}
	v, n := protowire.ConsumeBytes(b)
	*into = string(v)
	return n
}

// result encodes a BootstrapResult: version 3 of the shim's API, over ttrpc.
func result(address string) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), address)
	return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), "ttrpc")
}

// limit is the most that is read from containerd, in bytes, as in upstream's shim.
const limit = 10 << 20

func readAll(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, limit))
}
