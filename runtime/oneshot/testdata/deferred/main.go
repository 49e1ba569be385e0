// Command deferred prints configurations with a value in each field, as runc reads and
// writes them, and checks that they are read as they were written.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func main() {
	for _, v := range []any{&specs.Spec{}, &configs.Config{}} {
		if err := printed(v); err != nil {
			fmt.Fprintf(os.Stderr, "%T: %v\n", v, err)
			os.Exit(1)
		}
	}
}

func printed(v any) error {
	fill(reflect.ValueOf(v).Elem())
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", text)
	again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
	if err := json.Unmarshal(text, again); err != nil {
		return err
	}
	if !reflect.DeepEqual(v, again) {
		return fmt.Errorf("read again it is %+v, want %+v", again, v)
	}
	return nil
}

// fill puts something into v and all that it contains, except hooks, which have methods of
// their own for JSON.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		fill(v.Index(0))
	case reflect.Map:
		if v.Type() == reflect.TypeFor[configs.Hooks]() {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("a <text> & more")
	case reflect.Interface: // anything
		v.Set(reflect.ValueOf("text"))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic("a field of kind " + v.Kind().String())
	}
}
