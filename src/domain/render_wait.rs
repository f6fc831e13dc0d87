//! Why a validator's pod does not get past our init container.

/// What the kubelet says of the container that merges the list, while it can't start it.
///
/// The kubelet alternates between two words while it tries to pull an image: both are one value here, or each turn would
/// be news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderWait {
    /// The image can't be had.
    NotPulled,
    /// The image's name is none.
    InvalidName,
    /// The image is there, and no container can be made of it.
    NotCreated,
}

impl RenderWait {
    /// Reads `state.waiting.reason` of a container; none where it only waits for its turn.
    ///
    /// The words are those of the kubelet: `pkg/kubelet/images/types.go` and `pkg/kubelet/kuberuntime`, and those of the
    /// CRI's errors.
    #[must_use]
    pub fn of(reason: &str) -> Option<Self> {
        match reason {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => Some(Self::NotPulled),
            "InvalidImageName" => Some(Self::InvalidName),
            "CreateContainerConfigError" | "CreateContainerError" => Some(Self::NotCreated),
            _ => None,
        }
    }

    /// What is wrong, and the way out.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotPulled => {
                "its image can't be pulled; put it where the nodes can pull it, and the pod goes on by itself"
            }
            Self::InvalidName => {
                "the name of its image is none; correct --render-image, then roll the StatefulSet out anew"
            }
            Self::NotCreated => {
                "no container can be made of its image; `kubectl describe pod` has the kubelet's words"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_words_of_one_pull_are_one_value() {
        let words = ["ErrImagePull", "ImagePullBackOff"].map(RenderWait::of);
        assert_eq!(words, [Some(RenderWait::NotPulled); 2]);
    }

    #[test]
    fn waiting_for_ones_turn_is_no_trouble() {
        for word in ["PodInitializing", "ContainerCreating", ""] {
            assert_eq!(RenderWait::of(word), None);
        }
    }
}
