// SPDX-License-Identifier: BSD-2-Clause
//
// The DSDT as bytes: iasl makes dsdt.hex from dsdt.asl when the VMM is built. Constant data.
#include "vmm/board/acpi.h"

#include "dsdt.hex"

const unsigned dsdt_aml_bytes = sizeof(dsdt_aml_code);
