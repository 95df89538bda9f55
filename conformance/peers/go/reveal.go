package main

import (
	"fmt"
	"reflect"

	"github.com/kataras/neffos"
)

// hidden are the parts of a decoded message that the library keeps to itself. Without them a
// comparison of decoders would miss the two things they most easily disagree on: the token, and
// whether the payload was a frame at all.
type hidden struct {
	wait      string
	isNoOp    bool
	isInvalid bool
}

var (
	waitField      = messageField("wait", reflect.String)
	isNoOpField    = messageField("isNoOp", reflect.Bool)
	isInvalidField = messageField("isInvalid", reflect.Bool)
)

// messageField finds a field once. A version of the library without it stops the program at its
// start, where answers with quietly empty tokens would go unnoticed.
func messageField(name string, kind reflect.Kind) int {
	field, ok := reflect.TypeFor[neffos.Message]().FieldByName(name)
	if !ok || field.Type.Kind() != kind {
		panic(fmt.Sprintf("%s: Message has no field %s of kind %s", libraryPath, name, kind))
	}
	return field.Index[0]
}

// reveal only reads: reflection permits that on unexported fields of basic types.
func reveal(msg *neffos.Message) hidden {
	value := reflect.ValueOf(msg).Elem()
	return hidden{
		wait:      value.Field(waitField).String(),
		isNoOp:    value.Field(isNoOpField).Bool(),
		isInvalid: value.Field(isInvalidField).Bool(),
	}
}
