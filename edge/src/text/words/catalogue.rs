//! What can be said: one struct a subject, one field a text. A language that lacks one does not compile.

/// A struct of texts and of functions that make texts. Each function has sample arguments, so that the tests can look
/// at every text of every language.
macro_rules! catalogue {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$text_doc:meta])* $text:ident,)*
        } {
            $($(#[$function_doc:meta])* $function:ident($($argument:ty = $sample:expr),*),)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            $($(#[$text_doc])* pub $text: &'static str,)*
            $($(#[$function_doc])* pub $function: fn($($argument),*) -> String,)*
        }

        #[cfg(test)]
        impl $name {
            /// Every text with its name, made of the sample arguments where it takes some.
            pub fn texts(&self) -> Vec<(&'static str, String)> {
                vec![
                    $((stringify!($text), self.$text.to_owned()),)*
                    $((stringify!($function), (self.$function)($($sample),*)),)*
                ]
            }
        }
    };
}

catalogue! {
    /// Labels of what stands on several screens.
    Common {
        /// The intended use in five words; stands on every screen.
        disclaimer,
        /// Before a case's number.
        case,
        /// Below the plain image.
        image,
        /// In place of an image that cannot be shown.
        no_image,
        /// Below the overlay.
        heatmap_long,
        /// The same in less room.
        heatmap_middle,
        /// The same in the least room.
        heatmap_short,
        /// Below the second image while the overlay is off.
        heatmap_off,
        /// In place of a heatmap when there is none.
        no_heatmap,
        /// Left end of the colour scale.
        low,
        /// Right end of the colour scale.
        high,
        /// Heading of steps.
        what_to_do,
        /// Heading of the reasons of a result that is in doubt.
        why,
        /// Heading of what else is known of a result.
        remarks,
        /// Explains the tick on the bars.
        operating_point,
    } {
        /// In place of sentences that stand on the next page.
        more(usize = 3),
        /// Which one of how many.
        position(usize = 38, usize = 4100),
        /// An age beside a case.
        years(u32 = 104),
        /// An age below two years beside a case.
        months(u32 = 23),
        /// A slice by its number.
        slice(usize = 342),
        /// A slice by its number, and how many there are.
        slice_of(usize = 342, usize = 512),
        /// The operating points were set at this site, on a day.
        site_thresholds(&str = "2026-11-20"),
    }
}

catalogue! {
    /// What a result says.
    Results {
        /// The flagged finding has no name.
        a_finding,
        /// No label reached its operating point. Never "normal".
        no_finding_flagged,
        /// The model must not be relied on for this image.
        uncertain,
        /// The image cannot be assessed.
        not_readable,
        /// No model is there for this kind of image.
        no_model,
        /// What a person does next: a finding was flagged.
        step_flagged,
        /// None was.
        step_no_finding,
        /// The result is uncertain.
        step_uncertain,
        /// The image cannot be assessed.
        step_not_readable,
        /// No model is there.
        step_no_model,
        /// Why there is no result: the service ended each time it examined the image.
        ended_the_service,
        /// The model failed on the image.
        model_failed,
        /// The image's file is gone.
        file_gone,
        /// What the model said of itself is gone.
        model_gone,
        /// A remark: nothing is wrong with the image.
        quality_good,
        /// A remark: it is not far from the training images.
        like_training,
    } {
        /// A finding was flagged.
        flagged(&str = "Viral pneumonia pattern"),
        /// Why no model is there: the image's modality and body part.
        no_model_for(&str = "MR KNEE"),
        /// A result that came while somebody looks at another one: its headline and case.
        new_result(&str = "COVID-19", &str = "0413"),
        /// The same in less room.
        new_case(&str = "0413"),
        /// The same in the least room.
        new_number(&str = "0413"),
        /// The slices that a series was judged by.
        top_slices(&str = "84, 85, 83, 88, 41"),
    }
}

catalogue! {
    /// Names of labels that our recipes train.
    Labels {
        /// `normal`, `no_finding`.
        no_finding,
        /// `covid19`.
        covid19,
        /// `viral_pneumonia`.
        viral_pneumonia,
        /// `consolidation`.
        consolidation,
        /// `ground_glass`.
        ground_glass,
    } {}
}

catalogue! {
    /// Words of the status line, of marks and of keys.
    Status {
        /// Waits for images.
        ready,
        /// Examines one.
        working,
        /// A model is on its way.
        update,
        /// The appliance does not work.
        fault,
        /// It has no model.
        no_model,
        /// Its models are being loaded.
        starting,
        /// Operating points of this site, in the least room.
        site,
        /// Somebody has seen the result.
        acknowledged,
        /// A clinician found the same.
        agreed,
        /// A clinician found something else.
        disagreed,
        /// The result is in the archive.
        sent,
        /// It is on its way there.
        waiting,
        /// A button: a newer case.
        key_next,
        /// A button: an older case.
        key_previous,
        /// A button: the overlay.
        key_heatmap,
        /// A button: seen.
        key_acknowledge,
        /// A button: I find the same.
        key_agree,
        /// A button: I find something else.
        key_disagree,
        /// A button: the list of cases.
        key_list,
        /// A button: shows the case that is chosen in the list.
        key_open,
    } {
        /// How many images wait.
        queue(usize = 1234),
        /// How many results are not in the archive.
        unsent(usize = 1234),
        /// The processor is slowed at a temperature in degrees Celsius.
        slowed(i32 = 101),
    }
}

catalogue! {
    /// The screen between results, the screen at work, and the list of cases.
    Waiting {
        /// Headline.
        ready,
        /// Below it.
        for_images,
        /// Heading of the list.
        last_results,
        /// In place of the list.
        no_results,
        /// Headline while an image is examined.
        examining,
        /// A step: the image arrives.
        receiving,
        /// A step: it is decoded.
        reading,
        /// A step: its quality and whether the model is for it.
        checking,
        /// A step: the model.
        model,
        /// Nothing waits behind the image.
        nothing_behind,
        /// Heading of the list of all cases.
        cases,
    } {
        /// Images, and flagged ones, since midnight.
        today(usize = 1234, usize = 567),
        /// Flagged results that nobody has acknowledged.
        unacknowledged(usize = 12),
        /// How many images wait behind the one at work.
        behind(usize = 1234),
        /// How many of them are urgent.
        urgent(usize = 12),
    }
}

catalogue! {
    /// A fault of the appliance, and what helps.
    Faults {
        /// Headline.
        headline,
        /// The library that runs models is missing.
        no_runtime,
        /// The model does not run.
        model_fails,
        /// No room is left.
        storage_full,
        /// The storage cannot be written.
        storage_fails,
        /// No images can arrive.
        intake_fails,
        /// Too warm to work.
        too_hot,
        /// A part of the service does not get on.
        hangs,
        /// Anything else.
        other,
        /// A step: the field engineer.
        call_engineer,
        /// A step: off and on.
        restart,
        /// A step: room on the storage.
        make_room,
        /// A step: air.
        cool_down,
        /// A step: the cable from the scanner.
        check_cable,
        /// The last step, always: work goes on without the appliance.
        read_as_always,
        /// What is certain in any case.
        nothing_lost,
    } {
        /// When it began.
        since(&str = "2026-11-20 14:32"),
    }
}

catalogue! {
    /// A new model on its way.
    Updates {
        /// It arrives.
        receiving,
        /// Meanwhile.
        old_works,
        /// It is put together from its base and a difference.
        rebuilding,
        /// It is read back.
        verifying,
        /// What that is.
        every_byte,
        /// It runs its golden cases.
        self_test,
        /// What that is.
        golden_cases,
        /// It is stored.
        stored,
        /// Its self-test passed.
        passed,
        /// It is confirmed.
        confirmed,
        /// It was refused.
        refused,
        /// It arrived damaged.
        damaged,
        /// Its self-test failed.
        failed,
        /// The old one serves again.
        reverted,
        /// Any other end.
        ended,
        /// There is no model yet.
        no_model,
        /// How one comes here.
        how_to_send,
        /// The service starts.
        starting,
        /// What it does then.
        loading,
        /// It serves, and is not confirmed.
        on_trial,
        /// After a setback there is none.
        none_serves,
    } {
        /// After a setback: which model serves.
        goes_on(&str = "chest-xray 1.4.0"),
        /// How far: megabytes done, of all, in percent.
        megabytes(f64 = 12.1, f64 = 118.4, f32 = 66.0),
        /// How far: golden cases done, of all.
        cases(u64 = 12, u64 = 64),
        /// Which model.
        model(&str = "chest-xray 1.4.0"),
    }
}

catalogue! {
    /// Why a result is uncertain or an image not readable: one sentence for each code.
    Reasons {
        /// `too-small`
        too_small,
        /// `elongated`
        elongated,
        /// `under-exposed`
        under_exposed,
        /// `over-exposed`
        over_exposed,
        /// `low-contrast`
        low_contrast,
        /// `blurred`
        blurred,
        /// `noise`
        noise,
        /// `framed`
        framed,
        /// `io`
        io,
        /// `not-an-image`
        not_an_image,
        /// `truncated`
        truncated,
        /// `too-large`
        too_large,
        /// `damaged`
        damaged,
        /// `no-pixels`
        no_pixels,
        /// `colour-photograph`
        colour_photograph,
        /// `colour-image`
        colour_image,
        /// `lossy-12-bit`
        lossy_12_bit,
        /// `video`
        video,
        /// `unsupported-transfer-syntax`
        unsupported_transfer_syntax,
        /// `unsupported`
        unsupported,
        /// `no-such-frame`
        no_such_frame,
        /// `out-of-distribution`
        unlike_training,
        /// `not-confident`: no label reaches its prediction set.
        not_confident,
        /// `few-slices-assessed`
        few_slices,
        /// Between two labels of which either may be.
        or,
    } {
        /// `not-confident`: these labels are likely, below their operating points.
        below_operating_point(&str = "COVID-19 pattern"),
        /// `conformal-set-ambiguous`: these labels, and "no finding".
        not_ruled_out(&str = "COVID-19 pattern, Viral pneumonia pattern"),
        /// `outside-intended-use-modality`: found, allowed.
        modality(&str = "CT", &str = "CR, DX"),
        /// `outside-intended-use-body-part`: found, allowed.
        body_part(&str = "KNEE", &str = "CHEST"),
        /// `outside-intended-use-view`: found, allowed.
        view(&str = "LL", &str = "PA, AP"),
        /// `outside-intended-use-age`: the patient's age in words, youngest and oldest in years.
        age(&str = "23 months old", f32 = 18.0, f32 = 120.0),
        /// An age in a sentence, in months.
        months_old(u32 = 23),
        /// An age in a sentence, in years.
        years_old(u32 = 104),
    }
}

catalogue! {
    /// What to do about an image that is not readable.
    Steps {
        /// Exposure.
        exposure,
        /// Window.
        window,
        /// Motion.
        motion,
        /// Detector.
        detector,
        /// Not a photograph of a screen.
        not_a_screen,
        /// The whole image.
        whole,
        /// Once more.
        again,
        /// Not a photograph of a film.
        radiograph,
        /// A kind of file.
        format,
        /// A coding that can be read.
        coding,
        /// Anything else.
        file,
        /// No model is there for such images.
        ask_for_model,
        /// The last step, always.
        clinician,
    } {}
}
