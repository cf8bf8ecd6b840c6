// SPDX-License-Identifier: BSD-2-Clause
// In place of kernel/arch/x86/vmx/vmcs.h, which it includes: a VMCS that is an array.
#pragma once
#define vmread_hot  cpu_vmread_hot
#define vmwrite_hot cpu_vmwrite_hot
#include "../../../../../../../kernel/arch/x86/vmx/vmcs.h"
#undef vmread_hot
#undef vmwrite_hot
#undef vmread
#undef vmwrite

#define FAKE_FIELDS 0x8000
extern uint64_t fake_vmcs[FAKE_FIELDS]; // by encoding
#define vmread(field)         (fake_vmcs[field])
#define vmread_hot(field)     (fake_vmcs[field])
#define vmwrite(field, value) ((void)(fake_vmcs[field] = (value)))
#define vmwrite_hot           vmwrite
