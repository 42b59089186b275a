// Package nightly does a night's work. So far it reads a config of nights.
package nightly
