package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// The output of Bazel's starlark_doc_extract: the parts of stardoc_output.proto
// that a page shows. The tags are the field numbers.
type (
	moduleInfo struct {
		Rules      []ruleInfo      `proto:"1"`
		Providers  []providerInfo  `proto:"2"`
		Functions  []functionInfo  `proto:"3"`
		File       string          `proto:"6"`
		Extensions []extensionInfo `proto:"7"`
	}
	ruleInfo struct {
		Name       string          `proto:"1"`
		Doc        string          `proto:"2"`
		Attributes []attributeInfo `proto:"3"`
	}
	attributeInfo struct {
		Name      string `proto:"1"`
		Doc       string `proto:"2"`
		Type      uint64 `proto:"3"`
		Mandatory bool   `proto:"4"`
		Default   string `proto:"6"`
	}
	functionInfo struct {
		Name       string          `proto:"1"`
		Parameters []parameterInfo `proto:"2"`
		Doc        string          `proto:"3"`
	}
	parameterInfo struct {
		Name      string `proto:"1"`
		Doc       string `proto:"2"`
		Default   string `proto:"3"`
		Mandatory bool   `proto:"4"`
	}
	providerInfo struct {
		Name   string      `proto:"1"`
		Doc    string      `proto:"2"`
		Fields []fieldInfo `proto:"3"`
	}
	fieldInfo struct {
		Name string `proto:"1"`
		Doc  string `proto:"2"`
	}
	extensionInfo struct {
		Name string    `proto:"1"`
		Doc  string    `proto:"2"`
		Tags []tagInfo `proto:"3"`
	}
	tagInfo struct {
		Name       string          `proto:"1"`
		Doc        string          `proto:"2"`
		Attributes []attributeInfo `proto:"3"`
	}
)

// attributeTypes are the names of the values of AttributeType in Bazel's
// documentation.
var attributeTypes = []string{
	"unknown", "name", "int", "label", "string", "list of strings", "list of ints", "list of labels", "bool",
	"dict of labels to strings", "dict of strings", "dict of strings to lists", "output", "list of outputs",
	"dict of strings to labels", "dict of strings to lists of labels",
}

func (a attributeInfo) typeName() string {
	if a.Type < uint64(len(attributeTypes)) {
		return attributeTypes[a.Type]
	}
	return attributeTypes[0]
}

// Wire types of protobuf. The message does not have fields of the others.
const (
	wireVarint = 0
	wireBytes  = 2
)

var errTruncated = errors.New("the message is truncated")

// decode reads a message in protobuf's wire format into a struct of strings,
// bools, numbers, and slices of such structs. Fields that the struct does not
// have are ignored: newer versions of Bazel add fields.
func decode(message []byte, into reflect.Value) error {
	fields := map[string]reflect.Value{}
	for i := range into.NumField() {
		fields[into.Type().Field(i).Tag.Get("proto")] = into.Field(i)
	}
	varint := func() (uint64, error) {
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return 0, errTruncated
		}
		message = message[n:]
		return value, nil
	}
	for len(message) > 0 {
		tag, err := varint()
		if err != nil {
			return err
		}
		number, wireType := tag>>3, tag&7
		value, err := varint() // of bytes, the length
		if err != nil {
			return err
		}
		var content []byte
		switch wireType {
		case wireVarint:
		case wireBytes:
			if value > uint64(len(message)) {
				return errTruncated
			}
			content, message = message[:value], message[value:]
		default:
			return fmt.Errorf("field %d has wire type %d, want %d or %d", number, wireType, wireVarint, wireBytes)
		}
		if field, ok := fields[strconv.FormatUint(number, 10)]; ok {
			if err := set(field, wireType, value, content); err != nil {
				return fmt.Errorf("field %d: %w", number, err)
			}
		}
	}
	return nil
}

func set(field reflect.Value, wireType, number uint64, content []byte) error {
	want := uint64(wireBytes)
	if kind := field.Kind(); kind == reflect.Bool || kind == reflect.Uint64 {
		want = wireVarint
	}
	if wireType != want {
		return fmt.Errorf("wire type %d, want %d", wireType, want)
	}
	switch field.Kind() {
	case reflect.Bool:
		field.SetBool(number != 0)
	case reflect.Uint64:
		field.SetUint(number)
	case reflect.String:
		field.SetString(string(content))
	case reflect.Slice:
		element := reflect.New(field.Type().Elem()).Elem()
		if err := decode(content, element); err != nil {
			return err
		}
		field.Set(reflect.Append(field, element))
	}
	return nil
}
