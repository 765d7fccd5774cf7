#!/bin/sh
echo executable
