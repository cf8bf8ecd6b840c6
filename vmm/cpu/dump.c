// SPDX-License-Identifier: BSD-2-Clause
//
// What is printed of a vCPU when its VM ends. Keeps no state; runs on the VMM's only thread.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include "libc/kcall.h"
#include "vmm/cpu/exit.h"

static void print_general(const struct vcpu_page *page, uint64_t rsp)
{
    static const char *const name[16] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
        "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15",
    };
    uint64_t value[4];

    for (unsigned i = 0; i < 16; i += 4) {
        for (unsigned j = 0; j < 4; j++)
            value[j] = i + j == GPR_RSP ? rsp : page->gpr[i + j];
        printf("%s=%016" PRIx64 " %s=%016" PRIx64 " %s=%016" PRIx64 " %s=%016" PRIx64 "\n",
               name[i], value[0], name[i + 1], value[1], name[i + 2], value[2], name[i + 3],
               value[3]);
    }
}

void exit_dump(struct vcpu *vcpu)
{
    const struct vcpu_sregs *s = &vcpu->page->sregs;
    int64_t status = kcall_vcpu_sregs(vcpu->handle, 0); // into the page

    if (status != OK) {
        printf("its registers cannot be read: status %" PRId64 "\n", status);
        return;
    }
    printf("rip=%016" PRIx64 " rflags=%08" PRIx64 " efer=%04" PRIx64 " cs=%04x ss=%04x tr=%04x\n",
           s->rip, s->rflags, s->efer, s->cs.selector, s->ss.selector, s->tr.selector);
    print_general(vcpu->page, s->rsp);
    printf("cr0=%016" PRIx64 " cr2=%016" PRIx64 " cr3=%016" PRIx64 " cr4=%016" PRIx64 "\n", s->cr0,
           s->cr2, s->cr3, s->cr4);
    printf("cs base=%" PRIx64 " gdt=%" PRIx64 " idt=%" PRIx64 "\n", s->cs.base, s->gdtr_base,
           s->idtr_base);
}

int exit_kill(struct vcpu *vcpu, const char *format, ...)
{
    va_list arguments;

    printf("killed: ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    exit_dump(vcpu);
    fflush(stdout);
    return EXIT_KILL;
}
